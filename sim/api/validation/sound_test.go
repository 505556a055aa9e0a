package validation

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"pgregory.net/rapid"
)

// What is called sound is what upstream finds nothing wrong with.
func TestSoundIsWhatUpstreamFindsNothingWrongWith(t *testing.T) {
	common := rapid.SampledFrom([]string{"web", "v1", ""})
	text := rapid.OneOf(common, common, common, rapid.StringMatching(`[a-zA-Z0-9._/-]{0,12}`),
		rapid.StringMatching(`[a-z0-9]([a-z0-9.-]{0,70}[a-z0-9])?`), rapid.StringMatching(`[a-z.]{1,9}/[A-Za-z0-9_.-]{1,9}`))
	texts := rapid.MapOfN(text, text, 0, 2)
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		require.False(t, isLabel(s) && len(validation.IsDNS1123Label(s)) > 0, s)
		require.False(t, isWord(s) && len(validation.IsValidLabelValue(s)) > 0, s)
		require.False(t, isSubdomain(s) && len(validation.IsDNS1123Subdomain(s)) > 0, s)
		require.False(t, isQualified(s) && len(validation.IsQualifiedName(s)) > 0, s)
		m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: s, Namespace: text.Draw(t, "namespace"),
			Labels: texts.Draw(t, "labels"), Annotations: texts.Draw(t, "annotations")}}
		if rapid.Bool().Draw(t, "generated") {
			m.GenerateName = text.Draw(t, "generateName")
		}
		if rapid.Bool().Draw(t, "owned") {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: text.Draw(t, "apiVersion"),
				Kind: rapid.SampledFrom([]string{"", "Node", "Event"}).Draw(t, "kind"), Name: s, UID: "u"}}
		}
		namespaced := rapid.Bool().Draw(t, "namespaced")
		for _, name := range []nameRule{labelName, subdomainName, segmentName} {
			if soundMeta(m, namespaced, name) {
				passed++
				require.Empty(t, apivalidation.ValidateObjectMetaAccessor(m, namespaced, name.check, field.NewPath("metadata")))
			}
		}
	})
	assert.Positive(t, passed)
}

func TestPlaceReadsAsFieldPath(t *testing.T) {
	p := root("spec").Child("containers").Index(3).Child("resources").Child("limits").Key("cpu")
	assert.Equal(t, field.NewPath("spec", "containers").Index(3).Child("resources", "limits").Key("cpu").String(),
		p.path().String())
}
