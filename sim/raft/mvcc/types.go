package mvcc

// KeyValue is one version of a key, with etcd's field names (api/mvccpb/kv.proto, v3.6). It is immutable and shared.
type KeyValue struct {
	Key            []byte
	Value          []byte
	CreateRevision int64
	ModRevision    int64
	Version        int64
	Lease          int64
}

// Name returns the key as a string, which shares the key's bytes.
func (kv *KeyValue) Name() string { return view(kv.Key) }

// EventType says what happened to a key.
type EventType uint8

// The types of events.
const (
	Put EventType = iota
	Delete
)

// String returns etcd's name of the type.
func (t EventType) String() string {
	if t == Delete {
		return "DELETE"
	}
	return "PUT"
}

// Event is one change of one key. A deletion's Kv has only Key and ModRevision.
type Event struct {
	Type   EventType
	Kv     *KeyValue
	PrevKv *KeyValue // what was there before; nil unless asked for, or if there was nothing or it is compacted
}

// IsCreate reports whether the event made the key.
func (e *Event) IsCreate() bool { return e.Type == Put && e.Kv.CreateRevision == e.Kv.ModRevision }
