package fields

// Workloads.
const workloads = `
PodTemplateSpec
  metadata  acts
  spec      acts
Deployment
  metadata  acts
  spec      acts
DeploymentSpec
  replicas                 acts
  selector                 acts
  template                 acts
  strategy                 acts
  minReadySeconds          acts
  revisionHistoryLimit     acts
  paused                   acts
  progressDeadlineSeconds  acts
DeploymentStrategy
  type           acts
  rollingUpdate  acts
RollingUpdateDeployment
  maxUnavailable  acts
  maxSurge        acts
ReplicaSet
  metadata  acts
  spec      acts
ReplicaSetSpec
  replicas         acts
  minReadySeconds  acts
  selector         acts
  template         acts
DaemonSet
  metadata  acts
  spec      acts
DaemonSetSpec
  selector              acts
  template              acts
  updateStrategy        acts
  minReadySeconds       acts
  revisionHistoryLimit  acts
DaemonSetUpdateStrategy
  type           acts
  rollingUpdate  acts
RollingUpdateDaemonSet
  maxUnavailable  acts
  maxSurge        acts known=21 on=22
StatefulSet
  metadata  acts
  spec      acts
StatefulSetSpec
  replicas                              acts
  selector                              acts
  template                              acts
  volumeClaimTemplates                  warns nothing makes the claims: the pods stay Pending
  serviceName                           acts
  podManagementPolicy                   acts
  updateStrategy                        acts
  revisionHistoryLimit                  acts
  minReadySeconds                       acts known=22 on=23
  persistentVolumeClaimRetentionPolicy  acts known=23 on=27
  ordinals                              acts known=26 on=27
StatefulSetUpdateStrategy
  type           acts
  rollingUpdate  acts
RollingUpdateStatefulSetStrategy
  partition       acts
  maxUnavailable  acts known=24 on=37
StatefulSetPersistentVolumeClaimRetentionPolicy
  whenDeleted  warns unless=Retain claims are not deleted
  whenScaled   warns unless=Retain claims are not deleted
StatefulSetOrdinals
  start  acts
Job
  metadata  acts
  spec      acts
JobSpec
  parallelism              acts
  completions              acts
  activeDeadlineSeconds    acts
  podFailurePolicy         acts known=25 on=26
  successPolicy            warns known=30 on=31 all completions are waited for
  backoffLimit             acts
  backoffLimitPerIndex     warns known=28 on=29 the Job is not indexed
  maxFailedIndexes         warns known=28 on=29 the Job is not indexed
  selector                 acts
  manualSelector           acts
  template                 acts
  ttlSecondsAfterFinished  acts known=12 on=21
  completionMode           warns known=21 on=22 unless=NonIndexed the Job is not indexed
  suspend                  acts known=21 on=22
  podReplacementPolicy     acts known=28 on=29
  managedBy                warns known=30 on=32 unless=kubernetes.io/job-controller the Job controller acts all the same
  scheduling               warns known=37 on=never its pods are scheduled one by one
PodFailurePolicy
  rules  acts
PodFailurePolicyRule
  action           acts
  onExitCodes      acts
  onPodConditions  acts
PodFailurePolicyOnExitCodesRequirement
  containerName  acts
  operator       acts
  values         acts
PodFailurePolicyOnPodConditionsPattern
  type  acts
PodDisruptionBudget
  metadata  acts
  spec      acts
PodDisruptionBudgetSpec
  minAvailable                acts
  selector                    acts
  maxUnavailable              acts
  unhealthyPodEvictionPolicy  acts known=26 on=27
ControllerRevision
  metadata  acts
  data      acts
  revision  acts
`
