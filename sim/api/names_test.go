package api

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"ksim/sim"
)

const cartTemplate = `
metadata: {labels: {app: cart}}
spec:
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule,
     labelSelector: {matchLabels: {app: cart}}}
  containers: [{name: cart, image: "cart:2.3", resources: {requests: {cpu: 300m, memory: 200Mi}}}]`

const webTemplate = `
metadata: {labels: {app: web}}
spec:
  containers:
  - name: web
    image: nginx:1.28
    ports: [{containerPort: 80}]
    resources: {requests: {cpu: 250m, memory: 128Mi}, limits: {memory: 256Mi}}`

const dbTemplate = `
metadata: {labels: {app: db}, annotations: {kubectl.kubernetes.io/restartedAt: "2026-11-22T11:45:36Z"}}
spec:
  containers:
  - name: db
    image: postgres:17
    ports: [{containerPort: 5432, name: pg}]
    resources: {requests: {cpu: 500m, memory: 512Mi}}`

// storedTemplate is a template as a controller sees it: defaulted and read back from the store.
func storedTemplate(t *testing.T, text string) *corev1.PodTemplateSpec {
	d := &appsv1.Deployment{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &d.Spec.Template))
	SetDefaults(d)
	value, err := Encode(d)
	require.NoError(t, err)
	stored, err := Decode(Deployments, value, 1)
	require.NoError(t, err)
	return &stored.(*appsv1.Deployment).Spec.Template
}

// The hashes are those that kube-controller-manager v1.36.0 gave these templates.
func TestHashesAreThoseOfARealCluster(t *testing.T) {
	assert.Equal(t, "5cbc979cf6", ComputeHash(storedTemplate(t, webTemplate), nil))
	assert.Equal(t, "67b8679cbb", ComputeHash(storedTemplate(t, cartTemplate), nil))
	data, err := RevisionData(storedTemplate(t, dbTemplate))
	require.NoError(t, err)
	assert.Equal(t, "5b65f78d84", RevisionHash(data, ptr.To[int32](0)))
}

func TestCollisionsChangeHashes(t *testing.T) {
	template := storedTemplate(t, webTemplate)
	assert.NotEqual(t, ComputeHash(template, nil), ComputeHash(template, ptr.To[int32](1)))
	assert.NotEqual(t, ComputeHash(template, ptr.To[int32](2)), ComputeHash(template, ptr.To[int32](1)))
}

func TestGeneratedNamesAreShortAndSafe(t *testing.T) {
	s := sim.New(1).Rand("test")
	assert.Regexp(t, `^web-[bcdfghjklmnpqrstvwxz2456789]{5}$`, GenerateName("web-", s))
	assert.Len(t, GenerateName(strings.Repeat("x", 80), s), 63)
	assert.NotEqual(t, GenerateName("web-", s), GenerateName("web-", s))
}

func TestUIDsAreVersionFour(t *testing.T) {
	s := sim.New(1).Rand("test")
	pattern := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		uid := string(NewUID(s))
		require.Regexp(t, pattern, uid)
		require.False(t, seen[uid])
		seen[uid] = true
	}
}
