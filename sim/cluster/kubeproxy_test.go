package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/cluster/spec"
)

// The rules of a Service follow its endpoints, outlive kube-proxy and the API, grow stale, and do not outlive a boot.
func TestRulesOfAServiceFreezeWithTheControlPlane(t *testing.T) {
	c := start(t, 1, specOf(spec.Single, spec.Kubeadm, 2))
	web := deployment("web", 2)
	web.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80}}
	create(t, c, web, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}}})
	runFor(t, c, 20*time.Second)
	address := ""
	for _, object := range c.World().Objects(api.Services) {
		if object.GetName() == "web" {
			address = object.(*corev1.Service).Spec.ClusterIP + ":80"
		}
	}
	backends := func() int {
		rule, _ := c.byName["worker-1"].proxy.Lookup(address)
		return len(rule.Endpoints)
	}
	require.Equal(t, 2, backends())

	require.NoError(t, c.faults.Kill("kube-proxy", "worker-1"))
	runFor(t, c, time.Second)
	require.Equal(t, 2, backends(), "rules outlive the process")
	runFor(t, c, 10*time.Second)

	require.NoError(t, c.faults.Crash("cp-1"))
	require.NoError(t, c.faults.Crash("worker-2"))
	runFor(t, c, 5*time.Minute)
	require.Equal(t, 2, backends(), "without a control plane a dead backend stays in the rules")

	require.NoError(t, c.faults.Start("cp-1"))
	runFor(t, c, 3*time.Minute)
	require.Equal(t, 1, backends(), "when it is back the dead backend goes")

	require.NoError(t, c.faults.Crash("cp-1"))
	require.NoError(t, c.faults.Crash("worker-1"))
	require.NoError(t, c.faults.Start("worker-1"))
	runFor(t, c, time.Minute)
	require.Zero(t, backends(), "a boot forgets the rules, and nobody is there to tell them")
}
