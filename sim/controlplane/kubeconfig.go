package controlplane

import (
	"fmt"

	"sigs.k8s.io/yaml"

	"ksim/sim/hardware"
)

// Models client-go's clientcmd as far as it says which server to ask and as whom (tools/clientcmd, v0.36). Leaves out:
// certificates, tokens, several clusters in one file.

type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
	Users          []namedUser    `json:"users"`
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

type namedUser struct {
	Name string   `json:"name"`
	User struct{} `json:"user"`
}

// Kubeconfig returns a kubeconfig file as kubeadm writes it, for a user of that name at that server
// (https://lb-1:6443).
func Kubeconfig(server, user string) []byte {
	config := kubeconfig{APIVersion: "v1", Kind: "Config", CurrentContext: user + "@kubernetes",
		Clusters: []namedCluster{{Name: "kubernetes"}}, Contexts: []namedContext{{Name: user + "@kubernetes"}},
		Users: []namedUser{{Name: user}}}
	config.Clusters[0].Cluster.Server = server
	config.Contexts[0].Context.Cluster, config.Contexts[0].Context.User = "kubernetes", user
	text, err := yaml.Marshal(config)
	if err != nil {
		panic(err) // a struct of strings has a form in YAML
	}
	return text
}

// ReadKubeconfig reads a kubeconfig file of the process's machine: the server and the user of its current context.
// Errors: no such file, no YAML, no such context.
func ReadKubeconfig(p *hardware.Process, path string) (ClientConfig, error) {
	text, err := p.Machine().Disk().ReadFile(path)
	if err != nil {
		return ClientConfig{}, fmt.Errorf("stat %s: %w", path, err)
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
