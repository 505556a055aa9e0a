package controlplane

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// A file as it was written needs no parser; any other is left to one.
func TestKubeconfigAsWritten(t *testing.T) {
	for _, want := range []ClientConfig{
		{Server: "https://lb-1:6443", User: "system:node:worker-1"},
		{Server: "https://10.0.0.7:6443", User: "system:kube-proxy"},
	} {
		text := Kubeconfig(want.Server, want.User)
		have, ok := asWritten(string(text))
		assert.True(t, ok)
		assert.Equal(t, want, have)
		var parsed kubeconfig
		require.NoError(t, yaml.Unmarshal(text, &parsed))
		assert.Equal(t, want.Server, parsed.Clusters[0].Cluster.Server)
		assert.Equal(t, want.User, parsed.Contexts[0].Context.User)
	}
	for _, text := range []string{"", "server", string(Kubeconfig("https://lb:1", "a: b")),
		string(Kubeconfig("https://lb:1 # comment", "a:b")), string(Kubeconfig("https://lb:1", "'a:b'")),
		string(Kubeconfig("https://lb:1", "a:b")) + "current-context: other\n"} {
		_, ok := asWritten(text)
		assert.False(t, ok, text)
	}
}
