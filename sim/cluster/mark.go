package cluster

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// Models kubeadm's phase mark-control-plane (cmd/kubeadm/app/phases/markcontrolplane/markcontrolplane.go, v1.36): a
// kubelet may not give its own Node a role, so kubeadm does, with the administrator's rights.

// markEvery is how often kubeadm looks for the Node (kubeadmconstants.KubernetesAPICallRetryInterval, v1.36).
const markEvery = 500 * time.Millisecond

// markControlPlanes labels the Nodes of control-plane machines from the administrator's machine, once, when they
// appear.
func (c *Cluster) markControlPlanes(admin *host) {
	if c.spec.Install != spec.Kubeadm || len(c.release.ControlPlaneLabels) == 0 {
		return
	}
	labels := map[string]string{}
	for _, key := range c.release.ControlPlaneLabels {
		labels[key] = ""
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		panic(err) // strings have a form in JSON
	}
	admin.machine.OnBoot(func() {
		admin.machine.Start("kubeadm", func(p *hardware.Process) {
			p.Go("mark-control-plane", func(proc *sim.Proc) {
				client := c.Client(p, c.server(), "kubernetes-admin", "kubeadm/"+c.release.Version())
				for _, h := range c.hosts {
					for h.Role == spec.RoleControlPlane {
						_, err := client.Do(proc, &api.Request{Verb: api.Patch, Resource: api.Nodes, Name: h.Name, Patch: patch,
							PatchType: types.StrategicMergePatchType, Within: 10 * time.Second})
						if err == nil {
							break
						}
						proc.Sleep(markEvery)
					}
				}
				p.Exit(0, "done")
			})
		})
	})
}
