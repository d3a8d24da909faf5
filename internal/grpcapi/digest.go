package grpcapi

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"

	"github.com/rollcall-io/rollcall"
)

// digest stands for a set of instances, on every server alike: two servers need not have come to it by the same steps. It is the sum of
// its instances' so that a change costs what changed. It begins with something, because 0 is what a client sends who has none.
type digest uint64

const noInstances digest = 0x726f6c6c63616c6c

func digestOf(instances []*rollcall.Instance) digest {
	d := noInstances
	for _, i := range instances {
		d += digestOfOne(i)
	}
	return d
}

// after returns the digest of what updates make of the set.
func (d digest) after(updates []rollcall.Update) digest {
	for _, u := range updates {
		if u.Prev != nil {
			d -= digestOfOne(u.Prev)
		}
		if u.Op != rollcall.Delete {
			d += digestOfOne(u.Instance)
		}
	}
	return d
}

// digestOfOne tells the writes to an instance's key apart, and what rollcall and operators say of it: the value of one write is always the
// same.
func digestOfOne(i *rollcall.Instance) digest {
	w := newDigester()
	w.text(i.ID)
	w.text(i.Addr)
	w.text(i.Incarnation)
	w.numbers(i.Revision, i.CreateRevision)
	w.flag(i.Suspect)
	if o := i.Override; o != nil {
		w.text(o.Reason)
		w.text(o.Author)
		w.flag(o.Drain)
		w.numbers(int64(o.Weight), seconds(o.Since), seconds(o.Until))
	}
	if h := i.Health; h != nil {
		w.flag(h.Failing)
		w.text(h.Detail)
		w.text(h.Checker)
		w.numbers(seconds(h.Since))
	}
	return digest(binary.BigEndian.Uint64(w.Sum(nil)))
}

type digester struct{ hash.Hash }

func newDigester() digester { return digester{sha256.New()} }

func (w digester) text(s string) {
	w.numbers(int64(len(s))) // so that "ab","c" is not "a","bc"
	_, _ = w.Write([]byte(s))
}

func (w digester) numbers(numbers ...int64) {
	for _, n := range numbers {
		_, _ = w.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
}

func (w digester) flag(set bool) {
	var n int64
	if set {
		n = 1
	}
	w.numbers(n)
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
