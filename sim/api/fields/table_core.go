package fields

// Services, configuration, and what components keep in the API.
const core = `
Namespace
  metadata  acts
  spec      acts
NamespaceSpec
  finalizers  acts
ConfigMap
  metadata    acts
  immutable   acts known=18 on=19
  data        acts
  binaryData  acts
Secret
  metadata    acts
  immutable   acts known=18 on=19
  data        acts
  stringData  acts
  type        acts
ServiceAccount
  metadata                      acts
  secrets                       harmless nobody asks for a token
  imagePullSecrets              harmless images are not pulled
  automountServiceAccountToken  harmless nothing is mounted
Service
  metadata  acts
  spec      acts
ServiceSpec
  ports                          acts
  selector                       acts
  clusterIP                      acts
  clusterIPs                     acts known=20
  type                           warns unless=ClusterIP,NodePort there is nothing outside the cluster
  externalIPs                    harmless there is nothing outside the cluster
  sessionAffinity                acts
  loadBalancerIP                 harmless there is nothing outside the cluster
  loadBalancerSourceRanges       harmless there is nothing outside the cluster
  externalName                   harmless containers resolve no names
  externalTrafficPolicy          warns unless=Cluster there is nothing outside the cluster
  healthCheckNodePort            harmless there is nothing outside the cluster
  publishNotReadyAddresses       acts
  sessionAffinityConfig          acts
  ipFamilies                     warns known=20 unless=IPv4 all addresses are of IPv4
  ipFamilyPolicy                 warns known=20 unless=SingleStack,PreferDualStack all addresses are of IPv4
  allocateLoadBalancerNodePorts  acts known=20 on=22
  loadBalancerClass              harmless known=21 on=22 there is nothing outside the cluster
  internalTrafficPolicy          acts known=21 on=22
  trafficDistribution            warns known=30 on=31 all endpoints are asked alike
SessionAffinityConfig
  clientIP  acts
ClientIPConfig
  timeoutSeconds  acts
ServicePort
  name         acts
  protocol     acts
  appProtocol  harmless known=18 on=19 proxies copy it
  port         acts
  targetPort   acts
  nodePort     acts
Endpoints
  metadata  acts
  subsets   warns from=19 nothing makes EndpointSlices of them, and those are what kube-proxy reads
EndpointSlice
  metadata     acts
  addressType  acts
  endpoints    acts
  ports        acts
Endpoint
  addresses           acts
  conditions          acts
  hostname            harmless containers resolve no names
  targetRef           acts
  deprecatedTopology  harmless known=21 proxies read the node alone
  nodeName            acts known=20
  zone                harmless known=21 proxies read it in hints alone
  hints               warns known=21 kube-proxy does not look at them
EndpointConditions
  ready        acts
  serving      acts known=20
  terminating  acts known=20
EndpointPort
  name         acts
  protocol     acts
  port         acts
  appProtocol  harmless proxies copy it
ObjectReference
  kind             acts
  namespace        acts
  name             acts
  uid              acts
  apiVersion       acts
  resourceVersion  acts
  fieldPath        acts
Event
  metadata            acts
  involvedObject      acts
  reason              acts
  message             acts
  source              acts
  firstTimestamp      acts
  lastTimestamp       acts
  count               acts
  type                acts
  eventTime           acts
  series              acts
  action              acts
  related             acts
  reportingComponent  acts
  reportingInstance   acts
EventSource
  component  acts
  host       acts
EventSeries
  count             acts
  lastObservedTime  acts
Lease
  metadata  acts
  spec      acts
LeaseSpec
  holderIdentity        acts
  leaseDurationSeconds  acts
  acquireTime           acts
  renewTime             acts
  leaseTransitions      acts
  strategy              warns known=31 on=never leaders are not chosen for them
  preferredHolder       warns known=31 on=never leaders are not chosen for them
`
