package controlplane

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"ksim/sim/hardware"
)

// Models client-go's clientcmd as far as it says which server to ask and as whom (tools/clientcmd, v0.36). Leaves out:
// certificates, tokens, several clusters in one file.

type kubeconfig struct {
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
	} `json:"cluster"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// Kubeconfig returns a kubeconfig file as kubeadm writes it, for a user of that name at that server
// (https://lb-1:6443).
func Kubeconfig(server, user string) []byte {
	return []byte(fmt.Sprintf(kubeconfigText, server, user))
}

// kubeconfigText is a kubeconfig as sigs.k8s.io/yaml writes it: keys sorted.
const kubeconfigText = `apiVersion: v1
clusters:
- cluster:
    server: %[1]s
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: %[2]s
  name: %[2]s@kubernetes
current-context: %[2]s@kubernetes
kind: Config
users:
- name: %[2]s
  user: {}
`

// ReadKubeconfig reads a kubeconfig file of the process's machine: the server and the user of its current context.
// Errors: no such file, no YAML, no such context.
func ReadKubeconfig(p *hardware.Process, path string) (ClientConfig, error) {
	text, err := p.Machine().Disk().ReadFile(path)
	if err != nil {
		return ClientConfig{}, fmt.Errorf("stat %s: %w", path, err)
	}
	if config, ok := asWritten(string(text)); ok {
		return config, nil
	}
	var config kubeconfig
	if err := yaml.Unmarshal(text, &config); err != nil {
		return ClientConfig{}, fmt.Errorf("error loading config file %q: %w", path, err)
	}
	for _, context := range config.Contexts {
		if context.Name != config.CurrentContext {
			continue
		}
		for _, cluster := range config.Clusters {
			if cluster.Name == context.Context.Cluster {
				return ClientConfig{Server: cluster.Cluster.Server, User: context.Context.User}, nil
			}
		}
	}
	return ClientConfig{}, fmt.Errorf("invalid configuration: context was not found for specified context: %s",
		config.CurrentContext)
}

// asWritten reads a file that still is as Kubeconfig wrote it, which needs no parser: hundreds of machines have one,
// each with a user of its own.
func asWritten(text string) (ClientConfig, bool) {
	plain := func(value string) bool { // is a YAML string of those very characters
		return strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789-:/.") == "" && strings.Contains(value, ":") &&
			!strings.HasSuffix(value, ":") && value[0] >= 'a'
	}
	_, rest, _ := strings.Cut(text, "    server: ")
	server, rest, _ := strings.Cut(rest, "\n")
	_, rest, _ = strings.Cut(rest, "    user: ")
	user, _, _ := strings.Cut(rest, "\n")
	if !plain(server) || !plain(user) || text != string(Kubeconfig(server, user)) {
		return ClientConfig{}, false
	}
	return ClientConfig{Server: server, User: user}, true
}
