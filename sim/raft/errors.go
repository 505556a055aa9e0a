package raft

// Code is a gRPC status code, by its name.
type Code string

// The codes that etcd uses.
const (
	Canceled           Code = "Canceled"
	Unknown            Code = "Unknown"
	InvalidArgument    Code = "InvalidArgument"
	DeadlineExceeded   Code = "DeadlineExceeded"
	NotFound           Code = "NotFound"
	PermissionDenied   Code = "PermissionDenied"
	ResourceExhausted  Code = "ResourceExhausted"
	FailedPrecondition Code = "FailedPrecondition"
	OutOfRange         Code = "OutOfRange"
	Unimplemented      Code = "Unimplemented"
	Internal           Code = "Internal"
	Unavailable        Code = "Unavailable"
	DataLoss           Code = "DataLoss"
)

// Error is what a request failed with: a gRPC status. Errors of etcd itself are the values below (compare with ==).
type Error struct {
	Code Code
	Text string
	etcd bool // clientv3 prints errors of etcd without the gRPC prefix (api/v3rpc/rpctypes, EtcdError)
}

// Error returns the text that clientv3's caller sees.
func (e *Error) Error() string {
	if e.etcd {
		return e.Text
	}
	return "rpc error: code = " + string(e.Code) + " desc = " + e.Text
}

// CodeOf returns the gRPC code of an error: Unknown for what is no *Error, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := err.(*Error); ok {
		return e.Code
	}
	return Unknown
}

func etcdError(code Code, text string) *Error { return &Error{code, "etcdserver: " + text, true} }

// Errors of etcd with its texts and codes (api/v3rpc/rpctypes/error.go, v3.6).
var (
	ErrEmptyKey         = etcdError(InvalidArgument, "key is not provided")
	ErrKeyNotFound      = etcdError(InvalidArgument, "key not found")
	ErrValueProvided    = etcdError(InvalidArgument, "value is provided")
	ErrLeaseProvided    = etcdError(InvalidArgument, "lease is provided")
	ErrTooManyOps       = etcdError(InvalidArgument, "too many operations in txn request")
	ErrDuplicateKey     = etcdError(InvalidArgument, "duplicate key given in txn request")
	ErrCompacted        = etcdError(OutOfRange, "mvcc: required revision has been compacted")
	ErrFutureRev        = etcdError(OutOfRange, "mvcc: required revision is a future revision")
	ErrNoSpace          = etcdError(ResourceExhausted, "mvcc: database space exceeded")
	ErrLeaseNotFound    = etcdError(NotFound, "requested lease not found")
	ErrLeaseExist       = etcdError(FailedPrecondition, "lease already exists")
	ErrLeaseTTLTooLarge = etcdError(OutOfRange, "too large lease TTL")

	ErrMemberExist            = etcdError(FailedPrecondition, "member ID already exist")
	ErrPeerURLExist           = etcdError(FailedPrecondition, "Peer URLs already exists")
	ErrMemberNotEnoughStarted = etcdError(FailedPrecondition, "re-configuration failed due to not enough started members")
	ErrMemberBadURLs          = etcdError(InvalidArgument, "given member URLs are invalid")
	ErrMemberNotFound         = etcdError(NotFound, "member not found")
	ErrMemberNotLearner       = etcdError(FailedPrecondition, "can only promote a learner member")
	ErrLearnerNotReady        = etcdError(FailedPrecondition,
		"can only promote a learner member which is in sync with leader")
	ErrTooManyLearners = etcdError(FailedPrecondition, "too many learner members in cluster")

	ErrRequestTooLarge        = etcdError(InvalidArgument, "request is too large")
	ErrTooManyRequests        = etcdError(ResourceExhausted, "too many requests")
	ErrNoLeader               = etcdError(Unavailable, "no leader")
	ErrNotLeader              = etcdError(FailedPrecondition, "not leader")
	ErrLeaderChanged          = etcdError(Unavailable, "leader changed")
	ErrNotCapable             = etcdError(FailedPrecondition, "not capable")
	ErrStopped                = etcdError(Unavailable, "server stopped")
	ErrTimeout                = etcdError(Unavailable, "request timed out")
	ErrTimeoutLeaderFail      = etcdError(Unavailable, "request timed out, possibly due to previous leader failure")
	ErrTimeoutConnectionLost  = etcdError(Unavailable, "request timed out, possibly due to connection lost")
	ErrTimeoutWaitApplied     = etcdError(Unavailable, "request timed out, waiting for the applied index took too long")
	ErrUnhealthy              = etcdError(Unavailable, "unhealthy cluster")
	ErrCorrupt                = etcdError(DataLoss, "corrupt cluster")
	ErrNotSupportedForLearner = etcdError(FailedPrecondition, "rpc not supported for learner")
	ErrBadLeaderTransferee    = etcdError(FailedPrecondition, "bad leader transferee")
)

// Errors that are not etcd's own.
var (
	// ErrDeadline is what a request returns that was not answered within its time.
	ErrDeadline = &Error{DeadlineExceeded, "context deadline exceeded", false}
	// ErrCanceled is what ends a watch or request that was given up.
	ErrCanceled = &Error{Canceled, "context canceled", false}
)
