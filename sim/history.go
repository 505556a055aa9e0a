package sim

import (
	"encoding/binary"
	"time"
)

// history keeps the events of a run as bytes. As objects, hundreds of thousands of them with eight strings each, they
// would cost the collector more than the state of the cluster. Text that comes again (names, reasons) is kept once,
// messages in full.
type history struct {
	chunks []*chunk
	length int
	texts  []string // by number, from 1
	number map[string]uint64
}

// chunk holds chunkSize events, the last one of a history fewer.
type chunk struct {
	ends [chunkSize]uint32 // of each event in data
	data []byte
}

const chunkSize = 512

func (h *history) add(e *Event) {
	place := h.length % chunkSize
	if place == 0 {
		c := &chunk{}
		if n := len(h.chunks); n > 0 { // as long as the one before, so that it is hardly ever moved
			c.data = make([]byte, 0, len(h.chunks[n-1].data)*9/8)
		}
		h.chunks = append(h.chunks, c)
	}
	c := h.chunks[len(h.chunks)-1]
	b := append(c.data, byte(e.Level))
	for _, n := range [...]uint64{uint64(e.T), uint64(e.Cause), uint64(e.Since), uint64(e.Wait), h.numberOf(e.Machine),
		h.numberOf(e.Component), h.numberOf(e.Reason), h.numberOf(e.Object), h.numberOf(e.Setting), h.numberOf(e.Related)} {
		b = binary.AppendUvarint(b, n)
	}
	c.data = append(b, e.Message...)
	c.ends[place] = uint32(len(c.data))
	h.length++
}

func (h *history) numberOf(text string) uint64 {
	if text == "" {
		return 0
	}
	n, ok := h.number[text]
	if !ok {
		if h.number == nil {
			h.number = map[string]uint64{}
		}
		h.texts = append(h.texts, text)
		n = uint64(len(h.texts))
		h.number[text] = n
	}
	return n
}

// at returns the event with that ID.
func (h *history) at(id EventID) Event {
	c, place := h.chunks[(id-1)/chunkSize], int(id-1)%chunkSize
	return h.read(id, string(c.data[c.begin(place):c.ends[place]]))
}

// appendFrom appends all events from that ID on; those of a chunk share the memory of their messages.
func (h *history) appendFrom(id EventID, events []Event) []Event {
	for id <= EventID(h.length) {
		c, place := h.chunks[(id-1)/chunkSize], int(id-1)%chunkSize
		begin := c.begin(place)
		text := string(c.data[begin:])
		for ; place < chunkSize && id <= EventID(h.length); place, id = place+1, id+1 {
			events = append(events, h.read(id, text[c.begin(place)-begin:c.ends[place]-begin]))
		}
	}
	return events
}

func (c *chunk) begin(place int) uint32 {
	if place == 0 {
		return 0
	}
	return c.ends[place-1]
}

func (h *history) read(id EventID, text string) Event {
	level, rest := Level(text[0]), text[1:]
	var numbers [10]uint64
	for i := range numbers {
		numbers[i], rest = cutUvarint(rest)
	}
	name := func(i int) string {
		if numbers[i] == 0 {
			return ""
		}
		return h.texts[numbers[i]-1]
	}
	return Event{Seq: id, Level: level, T: Time(numbers[0]), Cause: EventID(numbers[1]), Since: EventID(numbers[2]),
		Wait: time.Duration(numbers[3]), Machine: name(4), Component: name(5), Reason: name(6), Object: name(7),
		Setting: name(8), Related: name(9), Message: rest}
}

// cutUvarint takes the number that text begins with, as written by binary.AppendUvarint.
func cutUvarint(text string) (n uint64, rest string) {
	for i := 0; ; i++ {
		n |= uint64(text[i]&0x7f) << (7 * i)
		if text[i] < 0x80 {
			return n, text[i+1:]
		}
	}
}
