package fields

// Scheduling.
const scheduling = `
Affinity
  nodeAffinity     acts
  podAffinity      acts
  podAntiAffinity  acts
NodeAffinity
  requiredDuringSchedulingIgnoredDuringExecution   acts
  preferredDuringSchedulingIgnoredDuringExecution  acts
NodeSelector
  nodeSelectorTerms  acts
NodeSelectorTerm
  matchExpressions  acts
  matchFields       acts
NodeSelectorRequirement
  key       acts
  operator  acts
  values    acts
PreferredSchedulingTerm
  weight      acts
  preference  acts
PodAffinity
  requiredDuringSchedulingIgnoredDuringExecution   acts
  preferredDuringSchedulingIgnoredDuringExecution  acts
PodAntiAffinity
  requiredDuringSchedulingIgnoredDuringExecution   acts
  preferredDuringSchedulingIgnoredDuringExecution  acts
PodAffinityTerm
  labelSelector      acts
  namespaces         acts
  topologyKey        acts
  namespaceSelector  acts known=21 on=22
  matchLabelKeys     acts known=29 on=31
  mismatchLabelKeys  acts known=29 on=31
WeightedPodAffinityTerm
  weight           acts
  podAffinityTerm  acts
Toleration
  key                acts
  operator           acts
  value              acts
  effect             acts
  tolerationSeconds  acts
TopologySpreadConstraint
  maxSkew             acts
  topologyKey         acts
  whenUnsatisfiable   acts
  labelSelector       acts
  minDomains          acts known=24 on=27
  nodeAffinityPolicy  acts known=25 on=26
  nodeTaintsPolicy    acts known=25 on=26
  matchLabelKeys      acts known=25 on=27
PriorityClass
  metadata          acts
  value             acts
  globalDefault     acts
  description       harmless people read it
  preemptionPolicy  acts known=15 on=19
Node
  metadata  acts
  spec      acts
NodeSpec
  podCIDR              warns a machine hands out addresses of a range of its own
  podCIDRs             warns known=16 a machine hands out addresses of a range of its own
  providerID           harmless there is no cloud
  unschedulable        acts
  taints               acts
  configSource         harmless kubelets read their flags
  externalID           harmless there is no cloud
  podPreemptionPolicy  warns known=37 on=never resources are not changed in place
Taint
  key        acts
  value      acts
  effect     acts
  timeAdded  acts
`
