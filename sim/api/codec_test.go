package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func testLease() *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "worker-1",
			UID:               "5f2c2cbe-5a0a-4d0e-8d13-4d3f4a1c6f10",
			CreationTimestamp: metav1.Unix(1767225600, 0),
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "worker-1", UID: "u-1"}}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("worker-1"), LeaseDurationSeconds: ptr.To[int32](40),
			RenewTime: &metav1.MicroTime{Time: time.Unix(1767225600, 123456000)}},
	}
}

func TestStoredLeaseHasNoResourceVersion(t *testing.T) {
	lease := testLease()
	lease.ResourceVersion = "17"
	value, err := Encode(lease)
	require.NoError(t, err)
	assert.Equal(t, "17", lease.ResourceVersion)
	lease.ResourceVersion = ""
	again, err := Encode(lease)
	require.NoError(t, err)
	assert.Equal(t, again, value)
	assert.Equal(t, "k8s\x00\n\x1f\n\x16coordination.k8s.io/v1\x12\x05Lease\x12", string(value[:38]))
	assert.Equal(t, "\x1a\x00\"\x00", string(value[len(value)-4:]))
}
