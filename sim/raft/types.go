package raft

import "ksim/sim/raft/mvcc"

// KeyValue is one version of a key; it is immutable and shared.
type KeyValue = mvcc.KeyValue

// Event is one change of one key.
type Event = mvcc.Event

// EventType says what happened to a key: EventPut or EventDelete.
type EventType = mvcc.EventType

// The types of events.
const (
	EventPut    = mvcc.Put
	EventDelete = mvcc.Delete
)

// The requests and responses below have the names and fields of etcd's RPCs (api/etcdserverpb/rpc.proto, v3.6).
// Requests belong to the receiver once sent; responses are shared and must not be changed.

// ResponseHeader says who answered, and at which revision of the store.
type ResponseHeader struct {
	ClusterID uint64
	MemberID  uint64
	Revision  int64
	RaftTerm  uint64
}

// SortOrder is the order of a range's result.
type SortOrder uint8

// The orders.
const (
	SortNone SortOrder = iota
	SortAscend
	SortDescend
)

// SortTarget is what a range's result is sorted by.
type SortTarget uint8

// The targets.
const (
	SortByKey SortTarget = iota
	SortByVersion
	SortByCreateRevision
	SortByModRevision
	SortByValue
)

// RangeRequest asks for the keys in [Key, RangeEnd): for one key if RangeEnd is empty, for all from Key on if it is
// "\x00".
type RangeRequest struct {
	Key, RangeEnd                        []byte
	Limit                                int64
	Revision                             int64 // 0: the newest
	SortOrder                            SortOrder
	SortTarget                           SortTarget
	Serializable                         bool // answered by the member alone, maybe stale; works without quorum
	KeysOnly, CountOnly                  bool
	MinModRevision, MaxModRevision       int64
	MinCreateRevision, MaxCreateRevision int64
}

// RangeResponse is the answer to a RangeRequest.
type RangeResponse struct {
	Header ResponseHeader
	Kvs    []*KeyValue
	More   bool
	Count  int64 // of all keys in the range, whatever the limit
}

// PutRequest sets a key.
type PutRequest struct {
	Key, Value  []byte
	Lease       int64
	PrevKv      bool
	IgnoreValue bool
	IgnoreLease bool
}

// PutResponse is the answer to a PutRequest.
type PutResponse struct {
	Header ResponseHeader
	PrevKv *KeyValue
}

// DeleteRangeRequest deletes the keys in [Key, RangeEnd).
type DeleteRangeRequest struct {
	Key, RangeEnd []byte
	PrevKv        bool
}

// DeleteRangeResponse is the answer to a DeleteRangeRequest.
type DeleteRangeResponse struct {
	Header  ResponseHeader
	Deleted int64
	PrevKvs []*KeyValue
}

// CompareResult is the relation that a Compare demands.
type CompareResult uint8

// The relations.
const (
	CompareEqual CompareResult = iota
	CompareGreater
	CompareLess
	CompareNotEqual
)

// CompareTarget is what a Compare looks at.
type CompareTarget uint8

// The targets.
const (
	CompareVersion CompareTarget = iota
	CompareCreate
	CompareMod
	CompareValue
	CompareLease
)

// Compare is one condition of a transaction: the key's target stands in that relation to Number, or to Value for
// CompareValue.
type Compare struct {
	Result        CompareResult
	Target        CompareTarget
	Key, RangeEnd []byte
	Number        int64
	Value         []byte
}

// RequestOp is one operation of a transaction; exactly one field is set.
type RequestOp struct {
	Range       *RangeRequest
	Put         *PutRequest
	DeleteRange *DeleteRangeRequest
	Txn         *TxnRequest
}

// ResponseOp is the answer to a RequestOp.
type ResponseOp struct {
	Range       *RangeResponse
	Put         *PutResponse
	DeleteRange *DeleteRangeResponse
	Txn         *TxnResponse
}

// TxnRequest does Success if all of Compare hold, else Failure, in one revision.
type TxnRequest struct {
	Compare []Compare
	Success []RequestOp
	Failure []RequestOp
}

// TxnResponse is the answer to a TxnRequest.
type TxnResponse struct {
	Header    ResponseHeader
	Succeeded bool
	Responses []ResponseOp
}

// CompactionRequest forgets what was overwritten before Revision.
type CompactionRequest struct {
	Revision int64
	Physical bool // answer only when the work is done
}

// CompactionResponse is the answer to a CompactionRequest.
type CompactionResponse struct{ Header ResponseHeader }

// HashKVRequest asks for a hash over the store up to Revision, 0 for the newest.
type HashKVRequest struct{ Revision int64 }

// HashKVResponse is the answer to a HashKVRequest.
type HashKVResponse struct {
	Header          ResponseHeader
	Hash            uint32
	CompactRevision int64
	HashRevision    int64
}

// LeaseGrantRequest makes a lease of TTL seconds; ID 0 lets etcd choose.
type LeaseGrantRequest struct{ TTL, ID int64 }

// LeaseGrantResponse is the answer to a LeaseGrantRequest.
type LeaseGrantResponse struct {
	Header  ResponseHeader
	ID, TTL int64
}

// LeaseRevokeRequest ends a lease and deletes its keys.
type LeaseRevokeRequest struct{ ID int64 }

// LeaseRevokeResponse is the answer to a LeaseRevokeRequest.
type LeaseRevokeResponse struct{ Header ResponseHeader }

// LeaseKeepAliveRequest renews a lease.
type LeaseKeepAliveRequest struct{ ID int64 }

// LeaseKeepAliveResponse is the answer to a LeaseKeepAliveRequest; TTL 0: the lease has gone.
type LeaseKeepAliveResponse struct {
	Header  ResponseHeader
	ID, TTL int64
}

// LeaseTimeToLiveRequest asks how long a lease has left, and for its keys.
type LeaseTimeToLiveRequest struct {
	ID   int64
	Keys bool
}

// LeaseTimeToLiveResponse is the answer to a LeaseTimeToLiveRequest; TTL -1: the lease has gone.
type LeaseTimeToLiveResponse struct {
	Header              ResponseHeader
	ID, TTL, GrantedTTL int64
	Keys                [][]byte
}

// LeaseLeasesRequest asks for all leases.
type LeaseLeasesRequest struct{}

// LeaseLeasesResponse is the answer to a LeaseLeasesRequest.
type LeaseLeasesResponse struct {
	Header ResponseHeader
	IDs    []int64
}

// WatchRequest opens a watch on [Key, RangeEnd) from StartRevision on, 0 for what comes next.
type WatchRequest struct {
	Key, RangeEnd  []byte
	StartRevision  int64
	ProgressNotify bool // a response without events every 10 minutes in which nothing happened
	NoPut          bool
	NoDelete       bool
	PrevKv         bool
	RequireLeader  bool // clientv3.WithRequireLeader: the member ends the watch when it has had no leader for long
}

// WatchResponse is one message of a watch. After one that is Canceled nothing comes.
type WatchResponse struct {
	Header          ResponseHeader
	Created         bool
	Canceled        bool
	CompactRevision int64 // if not 0: what was asked for is compacted up to here
	CancelReason    string
	Events          []Event // shared by all watchers: must not be changed
	Err             error   // of a Canceled response: what clientv3's WatchResponse.Err() returns
}

// IsProgressNotify reports whether the response only tells the revision that the watch has reached.
func (r *WatchResponse) IsProgressNotify() bool {
	return len(r.Events) == 0 && !r.Canceled && !r.Created && r.CompactRevision == 0 && r.Header.Revision != 0
}

// WatchProgressRequest asks for a progress notification on all watches of the client.
type WatchProgressRequest struct{}

// StatusRequest asks a member about itself.
type StatusRequest struct{}

// StatusResponse is the answer to a StatusRequest.
type StatusResponse struct {
	Header           ResponseHeader
	Version          string
	StorageVersion   string
	DBSize           int64
	DBSizeInUse      int64
	DBSizeQuota      int64
	Leader           uint64
	RaftIndex        uint64
	RaftTerm         uint64
	RaftAppliedIndex uint64
	Errors           []string
	IsLearner        bool
}

// Member is one member of the cluster.
type Member struct {
	ID         uint64
	Name       string // "" until it has started
	PeerURLs   []string
	ClientURLs []string
	IsLearner  bool
}

// MemberListRequest asks for the members.
type MemberListRequest struct{ Linearizable bool }

// MemberListResponse is the answer to a MemberListRequest.
type MemberListResponse struct {
	Header  ResponseHeader
	Members []Member
}

// MemberAddRequest adds a member, which is then to be started with initial-cluster-state existing.
type MemberAddRequest struct {
	PeerURLs  []string
	IsLearner bool
}

// MemberAddResponse is the answer to a MemberAddRequest.
type MemberAddResponse struct {
	Header  ResponseHeader
	Member  Member
	Members []Member
}

// MemberRemoveRequest removes a member.
type MemberRemoveRequest struct{ ID uint64 }

// MemberUpdateRequest changes a member's peer URLs.
type MemberUpdateRequest struct {
	ID       uint64
	PeerURLs []string
}

// MemberPromoteRequest makes a learner a voter.
type MemberPromoteRequest struct{ ID uint64 }

// MemberChangeResponse is the answer to removing, updating or promoting a member.
type MemberChangeResponse struct {
	Header  ResponseHeader
	Members []Member
}

// MoveLeaderRequest hands the lead to another member; the leader itself must be asked.
type MoveLeaderRequest struct{ TargetID uint64 }

// MoveLeaderResponse is the answer to a MoveLeaderRequest.
type MoveLeaderResponse struct{ Header ResponseHeader }

// AlarmType is a cluster-wide alarm.
type AlarmType uint8

// The alarms.
const (
	AlarmNone AlarmType = iota
	AlarmNoSpace
	AlarmCorrupt
)

// String returns etcd's name of the alarm.
func (t AlarmType) String() string { return [...]string{"NONE", "NOSPACE", "CORRUPT"}[t] }

// AlarmAction is what an AlarmRequest does.
type AlarmAction uint8

// The actions.
const (
	AlarmGet AlarmAction = iota
	AlarmActivate
	AlarmDeactivate
)

// AlarmRequest lists, raises or disarms alarms; MemberID 0 speaks of all members.
type AlarmRequest struct {
	Action   AlarmAction
	MemberID uint64
	Alarm    AlarmType
}

// AlarmMember is an alarm that a member has raised.
type AlarmMember struct {
	MemberID uint64
	Alarm    AlarmType
}

// AlarmResponse is the answer to an AlarmRequest.
type AlarmResponse struct {
	Header ResponseHeader
	Alarms []AlarmMember
}

// DefragmentRequest gives the free pages of one member's database back; the member is blocked meanwhile.
type DefragmentRequest struct{}

// DefragmentResponse is the answer to a DefragmentRequest.
type DefragmentResponse struct{ Header ResponseHeader }

// SnapshotRequest asks a member for a copy of its database.
type SnapshotRequest struct{}

// SnapshotResponse is the answer to a SnapshotRequest: what etcdctl snapshot save writes to a file.
type SnapshotResponse struct {
	Header  ResponseHeader
	Content *Database
	Version string
}

// HealthRequest is a GET of an HTTP health endpoint: /health, /livez, /readyz and /version, with its query.
type HealthRequest struct{ Path string }

// HTTPPath makes it a hardware.HTTPGet.
func (r *HealthRequest) HTTPPath() string { return r.Path }

// HealthResponse is the answer to a HealthRequest.
type HealthResponse struct {
	Code int
	Body string
}

// HTTPStatus makes it a hardware.HTTPAnswer.
func (r *HealthResponse) HTTPStatus() (status int, body string) { return r.Code, r.Body }
