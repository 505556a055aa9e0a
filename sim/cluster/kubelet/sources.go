package kubelet

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models what of ConfigMaps and Secrets must be there before a container starts (pkg/kubelet/kubelet_pods.go
// makeEnvironmentVariables, pkg/volume/configmap, secret and projected, v1.36): the objects, and the keys that are
// named. Leaves out: changes of what has been read once, and the certificate of the cluster, which is always there.

// rootCA is the ConfigMap with the certificate of the cluster, which a controller puts into every namespace.
const rootCA = "kube-root-ca.crt"

// sourceKey names a ConfigMap or a Secret.
type sourceKey struct {
	secret          bool
	namespace, name string
}

func (k *sourceKey) String() string {
	if k.secret {
		return "secret"
	}
	return "configmap"
}

// source reads a ConfigMap or Secret that has a key, if one is named; one that was read once is in the kubelet's cache.
// Errors: it cannot be read. has is false when it has no such key.
func (kl *Kubelet) source(p *sim.Proc, key sourceKey, named string) (has bool, err error) {
	if known := kl.sources[key]; known != nil && hasKey(known, named) {
		return true, nil
	}
	resource := api.ConfigMaps
	if key.secret {
		resource = api.Secrets
	}
	resp, err := kl.client.Do(p, &api.Request{Verb: api.Get, Resource: resource, Namespace: key.namespace, Name: key.name,
		Within: heartbeatTimeout})
	switch {
	case err == nil:
		kl.sources[key] = resp.Object
		return hasKey(resp.Object, named), nil
	case api.IsNotFound(err):
		return false, fmt.Errorf("%s %q not found", key.String(), key.name)
	case kl.sources[key] != nil: // its keys are known
		return false, nil
	}
	return false, fmt.Errorf("failed to sync %s cache: timed out waiting for the condition", key.String())
}

// hasKey reports whether an object has a key; "" asks for none.
func hasKey(obj api.Object, key string) bool {
	if key == "" {
		return true
	}
	var text, data bool
	switch o := obj.(type) {
	case *corev1.ConfigMap:
		_, text = o.Data[key]
		_, data = o.BinaryData[key]
	case *corev1.Secret:
		_, data = o.Data[key]
	}
	return text || data
}

func optional(p *bool) bool { return p != nil && *p }

// environment looks for what a container's environment needs.
func (kl *Kubelet) environment(p *sim.Proc, pod *corev1.Pod, spec *corev1.Container) error {
	for _, from := range spec.EnvFrom {
		if r := from.ConfigMapRef; r != nil && !optional(r.Optional) {
			if _, err := kl.source(p, sourceKey{false, pod.Namespace, r.Name}, ""); err != nil {
				return err
			}
		}
		if r := from.SecretRef; r != nil && !optional(r.Optional) {
			if _, err := kl.source(p, sourceKey{true, pod.Namespace, r.Name}, ""); err != nil {
				return err
			}
		}
	}
	for _, env := range spec.Env {
		if env.ValueFrom == nil {
			continue
		}
		if r := env.ValueFrom.ConfigMapKeyRef; r != nil && !optional(r.Optional) {
			has, err := kl.source(p, sourceKey{false, pod.Namespace, r.Name}, r.Key)
			if err == nil && !has {
				err = fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", r.Key, pod.Namespace, r.Name)
			}
			if err != nil {
				return err
			}
		}
		if r := env.ValueFrom.SecretKeyRef; r != nil && !optional(r.Optional) {
			has, err := kl.source(p, sourceKey{true, pod.Namespace, r.Name}, r.Key)
			if err == nil && !has {
				err = fmt.Errorf("couldn't find key %s in Secret %s/%s", r.Key, pod.Namespace, r.Name)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// missingSource looks for what a volume needs and is not there.
func (kl *Kubelet) missingSource(p *sim.Proc, pod *corev1.Pod) (volume string, err error) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.ConfigMap != nil:
			err = kl.missingFile(p, sourceKey{false, pod.Namespace, v.ConfigMap.Name}, v.ConfigMap.Items, v.ConfigMap.Optional)
		case v.Secret != nil:
			err = kl.missingFile(p, sourceKey{true, pod.Namespace, v.Secret.SecretName}, v.Secret.Items, v.Secret.Optional)
		case v.Projected != nil:
			err = kl.missingProjection(p, pod, v.Projected)
		}
		if err != nil {
			return v.Name, err
		}
	}
	return "", nil
}

func (kl *Kubelet) missingProjection(p *sim.Proc, pod *corev1.Pod, v *corev1.ProjectedVolumeSource) error {
	for i := range v.Sources {
		if c := v.Sources[i].ConfigMap; c != nil && c.Name != rootCA {
			if err := kl.missingFile(p, sourceKey{false, pod.Namespace, c.Name}, c.Items, c.Optional); err != nil {
				return err
			}
		}
		if s := v.Sources[i].Secret; s != nil {
			if err := kl.missingFile(p, sourceKey{true, pod.Namespace, s.Name}, s.Items, s.Optional); err != nil {
				return err
			}
		}
	}
	return nil
}

// missingFile looks for an object whose keys become files.
func (kl *Kubelet) missingFile(p *sim.Proc, key sourceKey, items []corev1.KeyToPath, may *bool) error {
	if optional(may) {
		return nil
	}
	if _, err := kl.source(p, key, ""); err != nil {
		return err
	}
	for _, item := range items {
		switch has, err := kl.source(p, key, item.Key); {
		case err != nil:
			return err
		case !has && key.secret:
			return errors.New("references non-existent secret key: " + item.Key)
		case !has:
			return errors.New("configmap references non-existent config key: " + item.Key)
		}
	}
	return nil
}
