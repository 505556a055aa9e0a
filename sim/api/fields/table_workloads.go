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
  maxSurge        warns known=21 on=22 unless=0,0% an old pod goes before the new one comes
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
  maxUnavailable  warns known=24 on=37 unless=1 pods are updated one by one
StatefulSetPersistentVolumeClaimRetentionPolicy
  whenDeleted  warns unless=Retain claims are not deleted
  whenScaled   warns unless=Retain claims are not deleted
StatefulSetOrdinals
  start  warns ordinals begin with 0
Job
  metadata  acts
  spec      acts
JobSpec
  parallelism              acts
  completions              acts
  activeDeadlineSeconds    acts
  podFailurePolicy         warns known=25 on=26 every failure counts alike
  successPolicy            warns known=30 on=31 all completions are waited for
  backoffLimit             acts
  backoffLimitPerIndex     warns known=28 on=29 the Job is not indexed
  maxFailedIndexes         warns known=28 on=29 the Job is not indexed
  selector                 acts
  manualSelector           acts
  template                 acts
  ttlSecondsAfterFinished  warns known=12 on=21 the Job is not deleted
  completionMode           warns known=21 on=22 unless=NonIndexed the Job is not indexed
  suspend                  warns known=21 on=22 unless=false the Job runs
  podReplacementPolicy     acts known=28 on=29
  managedBy                warns known=30 on=32 unless=kubernetes.io/job-controller the Job controller acts all the same
  scheduling               warns known=37 on=never its pods are scheduled one by one
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
