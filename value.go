package rollcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/internal/lease"
)

// maxReadLen is the reader's cap on one value: larger ones are skipped.
const maxReadLen = 1 << 20

// record is an instance as it lies in etcd: a superset of the Update that etcd's client/v3/naming and grpc-go's old
// naming package write, so that their readers find our instances and we theirs.
type record struct {
	Op          int               `json:"Op"` // always 0, "add": the old packages' word for present
	Addr        string            `json:"Addr"`
	Metadata    json.RawMessage   `json:"Metadata"`
	ID          string            `json:"ID,omitempty"`
	Incarnation string            `json:"Incarnation,omitempty"`
	Holder      string            `json:"Holder,omitempty"`
	State       State             `json:"State,omitempty"`
	Weight      int               `json:"Weight,omitempty"`
	Zone        string            `json:"Zone,omitempty"`
	Version     string            `json:"Version,omitempty"`
	Addrs       map[string]string `json:"Addrs,omitempty"`
	TTL         int64             `json:"TTL,omitempty"` // seconds
	Registered  time.Time         `json:"Registered,omitzero"`
	TokenHash   string            `json:"TokenHash,omitempty"`
	Check       *checkRecord      `json:"Check,omitempty"`
}

// knownFields are the names of record's fields; all others belong to later versions.
var knownFields = []string{
	"Op", "Addr", "Metadata", "ID", "Incarnation", "Holder", "State", "Weight", "Zone", "Version", "Addrs", "TTL", "Registered", "TokenHash", "Check",
}

// encode writes i as it lies in etcd.
func (i *Instance) encode() ([]byte, error) {
	r := record{
		Addr: i.Addr, ID: i.ID, Incarnation: i.Incarnation, Holder: i.Holder, State: i.State, Weight: i.Weight,
		Zone: i.Zone, Version: i.Version, Addrs: i.Addrs, TTL: int64(i.TTL / time.Second), Registered: i.Registered,
		Metadata: i.RawMetadata, TokenHash: i.tokenHash,
	}
	if i.Check != nil {
		r.Check = i.Check.record()
	}
	if i.Metadata != nil {
		m, err := json.Marshal(i.Metadata)
		if err != nil {
			return nil, err
		}
		r.Metadata = m
	}
	value, err := json.Marshal(r)
	if err != nil || len(i.unknown) == 0 {
		return value, err
	}
	rest, err := json.Marshal(i.unknown)
	if err != nil {
		return nil, err
	}
	return append(append(value[:len(value)-1], ','), rest[1:]...), nil
}

// encodeChecked is encode for what a caller handed in: an instance too large to write is the caller's error.
func (i *Instance) encodeChecked() ([]byte, error) {
	value, err := i.encode()
	if err != nil {
		return nil, fmt.Errorf("encode instance: %w", err)
	}
	if len(value) > maxValueLen {
		return nil, invalid("Instance", size(len(value)), "an instance is at most 16 KiB, as JSON")
	}
	return value, nil
}

// farewell is the value that says goodbye: the instance as it was, leaving.
func (i *Instance) farewell() ([]byte, error) {
	c := *i
	c.State = stateLeaving
	return c.encode()
}

// encodeBoth returns the value of an instance that a caller handed in, and its farewell.
func (i *Instance) encodeBoth() (value, farewell []byte, err error) {
	if value, err = i.encodeChecked(); err != nil {
		return nil, nil, err
	}
	if farewell, err = i.farewell(); err != nil {
		return nil, nil, fmt.Errorf("encode instance: %w", err)
	}
	return value, farewell, nil
}

var errTooLarge = errors.New("value is larger than 1 MiB")

// decodeInstance reads a value. What a writer left out gets its default; id is the id in the key and always wins.
func decodeInstance(id string, value []byte) (*Instance, error) {
	if len(value) > maxReadLen {
		return nil, errTooLarge
	}
	i, usual := readValue(value)
	if !usual {
		var err error
		if i, err = decodeAny(value); err != nil {
			return nil, err
		}
	}
	if i.Addr == "" {
		return nil, errors.New("value has no Addr")
	}
	i.ID = id
	i.Weight = max(i.Weight, 0)
	i.withDefaults()
	return i, nil
}

// decodeAny reads any value, and keeps what it does not know.
func decodeAny(value []byte) (*Instance, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	i := &Instance{
		Addr: r.Addr, Addrs: r.Addrs, Zone: r.Zone, Version: r.Version, Weight: r.Weight, State: r.State,
		TTL: time.Duration(r.TTL) * time.Second, Incarnation: r.Incarnation, Holder: r.Holder, Registered: r.Registered,
		tokenHash: r.TokenHash, Check: r.Check.check(),
	}
	if err := json.Unmarshal(value, &i.unknown); err != nil {
		return nil, err
	}
	maps.DeleteFunc(i.unknown, func(name string, _ json.RawMessage) bool { // as encoding/json compares names
		return slices.ContainsFunc(knownFields, func(known string) bool { return strings.EqualFold(known, name) })
	})
	i.readMetadata(r.Metadata)
	return i, nil
}

func (i *Instance) readMetadata(raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	var m map[string]*string // pointers: a null among the values is no string
	if json.Unmarshal(raw, &m) != nil {
		i.RawMetadata = raw
		return
	}
	i.Metadata = make(map[string]string, len(m))
	for k, v := range m {
		if v == nil {
			i.Metadata, i.RawMetadata = nil, raw
			return
		}
		i.Metadata[k] = *v
	}
}

// ownerOf tells the lease engine who wrote a value; nobody for anything else than ours.
func ownerOf(value []byte) lease.Owner {
	var r struct {
		Incarnation, Holder string
		TTL                 int64
	}
	if json.Unmarshal(value, &r) != nil {
		return lease.Owner{}
	}
	return lease.Owner{Incarnation: r.Incarnation, Holder: r.Holder, TTL: time.Duration(min(max(r.TTL, 0), int64(MaxTTL/time.Second))) * time.Second}
}
