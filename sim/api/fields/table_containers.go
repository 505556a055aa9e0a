package fields

// Containers: they execute nothing but behave as their command or annotation says.
const containers = `
Container
  name                      acts
  image                     acts
  command                   acts
  args                      acts
  workingDir                harmless containers execute nothing
  ports                     acts
  envFrom                   acts
  env                       acts
  resources                 acts
  resizePolicy              harmless known=27 on=33 resources are not changed in place
  restartPolicy             acts known=28 on=29
  restartPolicyRules        warns known=34 on=35 the restart policy alone decides
  volumeMounts              acts
  volumeDevices             harmless nothing is mounted
  livenessProbe             acts
  readinessProbe            acts
  startupProbe              acts known=16 on=18
  lifecycle                 acts
  terminationMessagePath    harmless containers write nothing
  terminationMessagePolicy  harmless what a container wrote last is in no status
  imagePullPolicy           acts
  securityContext           acts
  stdin                     harmless nobody types
  stdinOnce                 harmless nobody types
  tty                       harmless nobody types
ContainerPort
  name           acts
  hostPort       acts
  containerPort  acts
  protocol       acts
  hostIP         acts
EnvFromSource
  prefix        harmless containers execute nothing
  configMapRef  acts
  secretRef     acts
ConfigMapEnvSource
  optional  acts
SecretEnvSource
  optional  acts
EnvVar
  name       harmless containers execute nothing
  value      harmless containers execute nothing
  valueFrom  acts
EnvVarSource
  fieldRef          harmless containers execute nothing
  resourceFieldRef  harmless containers execute nothing
  configMapKeyRef   acts
  secretKeyRef      acts
  fileKeyRef        warns known=34 on=35 nobody looks whether the file has that key
ConfigMapKeySelector
  key       acts
  optional  acts
SecretKeySelector
  key       acts
  optional  acts
ResourceRequirements
  limits    acts
  requests  acts
  claims    warns known=26 on=34 there are no devices: the pod does not wait for them
VolumeMount
  name               harmless nothing is mounted
  readOnly           harmless nothing is mounted
  recursiveReadOnly  harmless known=30 on=31 nothing is mounted
  mountPath          acts
  subPath            harmless nothing is mounted
  mountPropagation   harmless nothing is mounted
  subPathExpr        harmless known=14 on=15 nothing is mounted
  bindMountOptions   harmless known=37 on=never nothing is mounted
Probe
  initialDelaySeconds            acts
  timeoutSeconds                 acts
  periodSeconds                  acts
  successThreshold               acts
  failureThreshold               acts
  terminationGracePeriodSeconds  acts known=21 on=25
ProbeHandler
  exec       acts
  httpGet    acts
  tcpSocket  acts
  grpc       acts known=23 on=24
ExecAction
  command  acts
HTTPGetAction
  path         acts
  port         acts
  host         acts
  scheme       acts
  httpHeaders  harmless no server reads them
  protocol     harmless known=37 on=never no server speaks it
TCPSocketAction
  port  acts
  host  acts
GRPCAction
  port     acts
  service  harmless no server has several
  mode     harmless known=37 on=never no server speaks it
Lifecycle
  postStart   acts
  preStop     acts
  stopSignal  warns known=33 on=never it is SIGTERM
LifecycleHandler
  exec       acts
  httpGet    warns the hook takes no time and succeeds
  tcpSocket  warns the hook takes no time and succeeds
  sleep      acts known=29 on=30
SleepAction
  seconds  acts
`
