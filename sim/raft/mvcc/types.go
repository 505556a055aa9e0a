package mvcc

// KeyValue is one version of a key, with etcd's field names (api/mvccpb/kv.proto, v3.6), and Value as a method, because
// a value that is old is packed. It is immutable, for all that one can see, and shared.
type KeyValue struct {
	Key            []byte
	CreateRevision int64
	ModRevision    int64
	Version        int64
	Lease          int64

	data *byte // of the value; nil: it is packed, or there is none
	page *page // where the value is packed; nil: it is not
	size int32 // of the value
	at   int32 // its place in the page; before it is packed, what is known of it:
}

const (
	superseded int32 = 1 << iota // some store has another version of the key, or has deleted it
	kept                         // a packed chunk refers to it
)

// With returns a version like kv that has a value.
func (kv KeyValue) With(value []byte) *KeyValue {
	kv.setValue(value)
	return &kv
}

func (kv *KeyValue) setValue(value []byte) {
	kv.data, kv.page, kv.size, kv.at = firstOf(value), nil, int32(len(value)), 0
}

// Value returns the value, which must not be changed. If it is packed, each call makes it anew.
func (kv *KeyValue) Value() []byte {
	if kv.page != nil {
		return kv.page.value(kv.at, kv.size)
	}
	return bytesFrom(kv.data, kv.size)
}

// pack says where the value is from now on.
func (kv *KeyValue) pack(to *page, at int32) { kv.data, kv.page, kv.at = nil, to, at }

// Name returns the key as a string, which shares the key's bytes.
func (kv *KeyValue) Name() string { return view(kv.Key) }

// is reports whether something is known of a version that is not packed.
func (kv *KeyValue) is(known int32) bool { return kv.page == nil && kv.at&known != 0 }

// supersede notes that there is another version of the key.
func (kv *KeyValue) supersede() {
	if kv != nil && kv.page == nil {
		kv.at |= superseded
	}
}

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
