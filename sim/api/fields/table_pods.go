package fields

// Pods, their security and their names.
const pods = `
ObjectMeta
  name                        acts
  generateName                acts
  namespace                   acts
  labels                      acts
  annotations                 acts
  ownerReferences             acts
  finalizers                  acts
  selfLink                    harmless the API server sets it
  uid                         harmless the API server sets it
  resourceVersion             acts
  generation                  harmless the API server sets it
  creationTimestamp           harmless the API server sets it
  deletionTimestamp           harmless the API server sets it
  deletionGracePeriodSeconds  harmless the API server sets it
  managedFields               harmless who set a field decides nothing without server-side apply
OwnerReference
  apiVersion          acts
  kind                acts
  name                acts
  uid                 acts
  controller          acts
  blockOwnerDeletion  acts
LabelSelector
  matchLabels       acts
  matchExpressions  acts
LabelSelectorRequirement
  key       acts
  operator  acts
  values    acts
Pod
  metadata  acts
  spec      acts
PodSpec
  volumes                        acts
  initContainers                 acts
  containers                     acts
  ephemeralContainers            warns known=16 on=23 nothing starts them
  restartPolicy                  acts
  terminationGracePeriodSeconds  acts
  activeDeadlineSeconds          warns the kubelet does not end the pod then
  dnsPolicy                      harmless containers resolve no names
  nodeSelector                   acts
  serviceAccountName             acts
  serviceAccount                 acts
  automountServiceAccountToken   acts
  nodeName                       acts
  hostNetwork                    acts
  hostPID                        warns its containers are PID 1 all the same, so shells ignore SIGTERM
  hostIPC                        harmless containers execute nothing
  shareProcessNamespace          warns unless=false its containers are PID 1 all the same, so shells ignore SIGTERM
  securityContext                acts
  imagePullSecrets               harmless images are not pulled
  hostname                       harmless containers resolve no names
  subdomain                      harmless containers resolve no names
  affinity                       acts
  schedulerName                  acts
  tolerations                    acts
  hostAliases                    harmless containers resolve no names
  priorityClassName              acts
  priority                       acts
  dnsConfig                      harmless containers resolve no names
  readinessGates                 acts
  runtimeClassName               warns known=12 on=14 nobody looks whether there is such a class; it adds no overhead
  enableServiceLinks             harmless known=13 containers execute nothing
  preemptionPolicy               acts known=15 on=19
  overhead                       acts known=16 on=18
  topologySpreadConstraints      acts known=16 on=18
  setHostnameAsFQDN              harmless known=19 on=20 containers resolve no names
  os                             acts known=23 on=24
  hostUsers                      harmless known=25 on=33 containers execute nothing
  schedulingGates                acts known=26 on=27
  resourceClaims                 warns known=26 on=34 there are no devices: the pod does not wait for them
  resources                      acts known=32 on=34
  hostnameOverride               harmless known=34 on=35 containers resolve no names
  schedulingGroup                warns known=36 on=never its pods are scheduled one by one
  evictionResponders             warns known=37 on=never nobody is asked before an eviction
PodReadinessGate
  conditionType  acts
PodOS
  name  acts
PodSchedulingGate
  name  acts
PodSecurityContext
  seLinuxOptions            harmless containers execute nothing
  windowsOptions            harmless known=15 containers execute nothing
  runAsUser                 harmless containers execute nothing
  runAsGroup                harmless containers execute nothing
  runAsNonRoot              warns unless=false images have no user: one that runs as root starts all the same
  supplementalGroups        harmless containers execute nothing
  supplementalGroupsPolicy  harmless known=31 on=33 containers execute nothing
  fsGroup                   harmless containers execute nothing
  sysctls                   warns the kubelet does not refuse a pod for those that are not safe
  fsGroupChangePolicy       harmless known=18 on=20 containers execute nothing
  seccompProfile            acts known=19
  appArmorProfile           acts known=30
  seLinuxChangePolicy       harmless known=32 on=33 containers execute nothing
SecurityContext
  capabilities              harmless containers execute nothing
  privileged                harmless containers execute nothing
  seLinuxOptions            harmless containers execute nothing
  windowsOptions            harmless known=15 containers execute nothing
  runAsUser                 harmless containers execute nothing
  runAsGroup                harmless containers execute nothing
  runAsNonRoot              warns unless=false images have no user: one that runs as root starts all the same
  readOnlyRootFilesystem    harmless containers execute nothing
  allowPrivilegeEscalation  harmless containers execute nothing
  procMount                 harmless known=12 containers execute nothing
  seccompProfile            acts known=19
  appArmorProfile           acts known=30
SeccompProfile
  type              harmless containers execute nothing
  localhostProfile  warns nobody looks whether the node has that file
AppArmorProfile
  type              harmless containers execute nothing
  localhostProfile  warns nobody looks whether the node has that profile
`

// Volumes: nothing is mounted; what decides is whether a pod may start.
const volumes = `
Volume
  name  harmless nothing is mounted
VolumeSource
  hostPath               acts
  emptyDir               acts
  gcePersistentDisk      warns it is there at once, on every node
  awsElasticBlockStore   warns it is there at once, on every node
  gitRepo                warns it is there at once
  secret                 acts
  nfs                    warns it is there at once
  iscsi                  warns it is there at once, on every node
  glusterfs              warns it is there at once
  persistentVolumeClaim  warns the scheduler looks for the claim, but nothing binds claims or attaches volumes
  rbd                    warns it is there at once, on every node
  flexVolume             warns it is there at once
  cinder                 warns it is there at once, on every node
  cephfs                 warns it is there at once
  flocker                warns it is there at once
  downwardAPI            harmless nothing is mounted
  fc                     warns it is there at once, on every node
  azureFile              warns it is there at once
  configMap              acts
  vsphereVolume          warns it is there at once, on every node
  quobyte                warns it is there at once
  azureDisk              warns it is there at once, on every node
  photonPersistentDisk   warns it is there at once, on every node
  projected              acts
  portworxVolume         warns it is there at once, on every node
  scaleIO                warns it is there at once, on every node
  storageos              warns it is there at once, on every node
  csi                    warns known=14 on=16 it is there at once
  ephemeral              warns known=19 on=21 nothing makes the claim: the pod stays Pending
  image                  harmless known=31 on=35 images are not pulled
HostPathVolumeSource
  path  harmless nothing is mounted
  type  warns unless=DirectoryOrCreate,FileOrCreate nobody looks whether the machine has it
EmptyDirVolumeSource
  medium     harmless containers write nothing
  sizeLimit  harmless containers write nothing
  mode       harmless known=37 on=never nothing is mounted
LocalObjectReference
  name  acts
SecretVolumeSource
  secretName   acts
  items        acts
  defaultMode  harmless nothing is mounted
  optional     acts
  defaultUser  harmless known=37 on=never nothing is mounted
ConfigMapVolumeSource
  items        acts
  defaultMode  harmless nothing is mounted
  optional     acts
  defaultUser  harmless known=37 on=never nothing is mounted
KeyToPath
  key   acts
  path  harmless nothing is mounted
  mode  harmless nothing is mounted
  user  harmless known=37 on=never nothing is mounted
ProjectedVolumeSource
  sources      acts
  defaultMode  harmless nothing is mounted
  defaultUser  harmless known=37 on=never nothing is mounted
SecretProjection
  items     acts
  optional  acts
ConfigMapProjection
  items     acts
  optional  acts
VolumeProjection
  secret               acts
  downwardAPI          harmless nothing is mounted
  configMap            acts
  serviceAccountToken  harmless nothing is mounted
  clusterTrustBundle   warns known=29 on=37 the kubelet does not wait for it
  podCertificate       warns known=34 on=37 nothing signs it
`
