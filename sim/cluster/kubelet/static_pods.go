package kubelet

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"ksim/sim"
	"ksim/sim/api"
)

// Models static pods (pkg/kubelet/config/{file,file_linux,common}.go, pod/mirror_client.go, v1.36): manifests read at
// the start, on every inotify event and every 20 s; a UID that is the hash of the manifest; mirror pods in the API.
// Leaves out: manifests from a URL. Of the full reads only those are done that can find something: after a file that
// could not be read.

// fileSource reads the manifest directory.
type fileSource struct {
	kl    *Kubelet
	dir   string
	pods  map[string]*corev1.Pod // by full name
	files map[string]string      // full name by file
	order []string               // full names, as they came
	timer sim.Timer
}

func (f *fileSource) init(kl *Kubelet) {
	f.kl, f.dir = kl, kl.config.staticPodPath
	f.pods, f.files = map[string]*corev1.Pod{}, map[string]string{}
}

func (f *fileSource) start() {
	if f.dir == "" {
		f.kl.fileReady = true
		return
	}
	f.kl.machine.Disk().Watch(f.dir, f.kl.scope, f.event)
	f.read()
	f.kl.fileReady = true
	f.kl.housekeepingSoon()
}

// read is the full read of the directory: what is not there, or cannot be read, is gone.
func (f *fileSource) read() {
	pods, files := map[string]*corev1.Pod{}, map[string]string{}
	var order []string
	for _, file := range f.kl.machine.Disk().List(f.dir) {
		if !path.IsAbs(file) {
			file = path.Join(f.dir, file)
		}
		if path.Dir(file) != path.Clean(f.dir) {
			continue
		}
		pod, err := f.parse(file)
		if err != nil {
			f.failed(file, err)
			continue
		}
		if pod == nil {
			continue
		}
		name := fullName(pod.Namespace, pod.Name)
		if pods[name] == nil {
			order = append(order, name)
		}
		pods[name], files[file] = pod, name
	}
	f.become(pods, order)
	f.files = files
}

// event is inotify's: a file was written, created, moved or removed.
func (f *fileSource) event(file string) {
	if path.Dir(file) != path.Clean(f.dir) || strings.HasPrefix(path.Base(file), ".") {
		return
	}
	pods, order := map[string]*corev1.Pod{}, append([]string(nil), f.order...)
	for name, pod := range f.pods { // any order: copies a map
		pods[name] = pod
	}
	if !f.kl.machine.Disk().Exists(file) {
		delete(pods, f.files[file])
		delete(f.files, file)
		f.become(pods, order)
		return
	}
	pod, err := f.parse(file)
	if err != nil {
		f.failed(file, err)
		due := nextTick(f.kl.loop, f.kl.kernel.Now()+1, f.kl.config.fileCheck)
		if !f.timer.Pending() {
			f.timer = f.kl.scope.At(due, "read manifests", f.read)
		}
		return
	}
	if pod == nil {
		return
	}
	name := fullName(pod.Namespace, pod.Name)
	if pods[name] == nil {
		order = append(order, name)
	}
	pods[name], f.files[file] = pod, name
	f.become(pods, order)
}

func (f *fileSource) failed(file string, err error) {
	f.kl.scope.Emit(sim.Event{Level: sim.Story, Reason: "InvalidManifest", Object: "node/" + f.kl.config.nodeName,
		Message: "can't process manifest file " + file + ": " + err.Error()})
}

// become replaces the set of static pods and tells the sync loop the difference: what went first, then what came.
func (f *fileSource) become(pods map[string]*corev1.Pod, order []string) {
	was, before := f.pods, f.order
	f.pods, f.order = pods, nil
	for _, name := range before {
		if pod := was[name]; pod != nil && (pods[name] == nil || pods[name].UID != pod.UID) {
			f.kl.removePod(pod)
		}
	}
	for _, name := range order {
		pod := pods[name]
		if pod == nil {
			continue
		}
		f.order = append(f.order, name)
		if old := was[name]; old == nil || old.UID != pod.UID {
			f.kl.addPod(pod)
		} else {
			pods[name] = old
		}
	}
}

var errNotAPod = errors.New("couldn't parse as pod(object is not a Pod)")

// parse reads a manifest as a static pod; nil for a file that is none by its name.
func (f *fileSource) parse(file string) (*corev1.Pod, error) {
	if strings.HasPrefix(path.Base(file), ".") {
		return nil, nil
	}
	text, err := f.kl.machine.Disk().ReadFile(file)
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal(text, pod); err != nil {
		return nil, err
	}
	if pod.Kind != "Pod" || pod.Name == "" || len(pod.Spec.Containers) == 0 {
		return nil, errNotAPod
	}
	f.defaults(pod, file)
	return pod, nil
}

// defaults is applyDefaults and the defaulting of the API.
func (f *fileSource) defaults(pod *corev1.Pod, file string) {
	node := f.kl.config.nodeName
	if pod.UID == "" {
		text, err := json.Marshal(pod)
		sim.Assert(err == nil, "a pod has a JSON form: %v", err)
		sum := md5.Sum(append([]byte("host:"+node+"\nfile:"+file+"\n"), text...))
		pod.UID = types.UID(hex.EncodeToString(sum[:]))
	}
	pod.TypeMeta = metav1.TypeMeta{}
	pod.Name += "-" + node
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[configHashAnnotation] = string(pod.UID)
	pod.Annotations[configSourceAnnotation] = fileSourceName
	pod.Annotations[configSeenAnnotation] = f.kl.machine.Clock().Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	pod.Spec.NodeName = node
	pod.Spec.Tolerations = append(pod.Spec.Tolerations,
		corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute})
	api.SetDefaults(pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
}

// reconcileMirror sees that the mirror pod of a static pod is there and is its own (tryReconcileMirrorPods).
func (kl *Kubelet) reconcileMirror(p *sim.Proc, pod, mirror *corev1.Pod) {
	deleted := false
	if mirror != nil && (mirror.DeletionTimestamp != nil || !isMirrorOf(mirror, pod)) {
		_, err := kl.client.Do(p, deleteRequest(mirror))
		deleted = err == nil
	}
	if mirror != nil && !deleted {
		return
	}
	node := kl.node.cached()
	if node == nil || node.DeletionTimestamp != nil {
		return
	}
	// That it exists already or cannot be made shows at the next sync.
	_, _ = kl.client.Do(p, &api.Request{Verb: api.Create, Resource: api.Pods, Namespace: pod.Namespace, Name: pod.Name,
		Object: mirrorOf(pod, node)})
}

func isMirrorOf(mirror, pod *corev1.Pod) bool {
	return mirror.Annotations[corev1.MirrorPodAnnotationKey] == pod.Annotations[configHashAnnotation]
}

// mirrorOf makes the mirror pod of a static pod, owned by the Node.
func mirrorOf(pod *corev1.Pod, node *corev1.Node) *corev1.Pod {
	mirror := pod.DeepCopy()
	mirror.UID = ""
	mirror.Annotations[corev1.MirrorPodAnnotationKey] = pod.Annotations[configHashAnnotation]
	controller := true
	mirror.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID,
		Controller: &controller}}
	return mirror
}

// deleteRequest deletes a mirror pod at once, if it is still the same.
func deleteRequest(mirror *corev1.Pod) *api.Request {
	zero := int64(0)
	return &api.Request{Verb: api.Delete, Resource: api.Pods, Namespace: mirror.Namespace, Name: mirror.Name,
		GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &mirror.UID}}
}
