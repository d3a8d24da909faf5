package grpcapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const (
	mostPerPage = 1000
	mostLabels  = 16
	longest     = 253 // of a service's name, and so of its beginning
)

// page is where a listing goes on: behind the name that was told last, whatever has come and gone since.
type page struct {
	After    string `json:"a"`
	Question []byte `json:"q"` // a hash of what was asked: the next page is one of the same listing
}

func (p page) token() string {
	text, _ := json.Marshal(p) // a string and bytes
	return base64.RawURLEncoding.EncodeToString(text)
}

// pageOf reads a token that somebody says we wrote.
func pageOf(token string, question []byte) (page, error) {
	var p page
	if token == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || len(p.After) > longest {
		return page{}, invalid("page_token", token, "a page token is the next_page_token of the page before, as it is")
	}
	if string(p.Question) != string(question) {
		return page{}, invalid("page_token", token, "a page token goes with the prefix and the labels of the page before")
	}
	return p, nil
}

// questionOf stands for what a listing selects.
func questionOf(req *rollcallv1.ListServicesRequest) []byte {
	text, _ := json.Marshal([]any{req.GetPrefix(), req.GetLabels()})
	sum := sha256.Sum256(text)
	return sum[:6]
}

func checkPrefix(prefix string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}
	if len(prefix) > longest || strings.ContainsFunc(prefix, bad) {
		return invalid("prefix", prefix, "a prefix is the beginning of a service's name: at most 253 of A-Z a-z 0-9 . _ -")
	}
	return nil
}

// pageSizeOf returns how many services a page has.
func pageSizeOf(size int32) (int, error) {
	if size < 0 {
		return 0, &rollcall.InvalidError{Field: "page_size", Value: strconv.Itoa(int(size)), Rule: "a page has 1 to 1000 services; 0 is 1000"}
	}
	if size == 0 {
		return mostPerPage, nil
	}
	return min(int(size), mostPerPage), nil
}

// labels are what an instance must have: its zone, its version, or what is in its metadata.
type labels []label

type label struct{ key, value string }

func labelsOf(asked []string) (labels, error) {
	if len(asked) > mostLabels {
		return nil, invalid("labels", strings.Join(asked, ","), "at most 16 labels")
	}
	var all labels
	for _, one := range asked {
		key, value, found := strings.Cut(one, "=")
		if !found || key == "" {
			return nil, invalid("labels", one, `a label is key=value: "zone=a", "version=v2", or "team=jie" for metadata`)
		}
		all = append(all, label{key, value})
	}
	return all, nil
}

func (all labels) on(i *rollcall.Instance) bool {
	for _, l := range all {
		value, has := i.Metadata[l.key]
		switch l.key {
		case "zone":
			value, has = i.Zone, true
		case "version":
			value, has = i.Version, true
		}
		if !has || value != l.value {
			return false
		}
	}
	return true
}

// invalid refuses a field of a request. It repeats no more than the beginning of what was there.
func invalid(field, value, rule string) error {
	if len(value) > 100 {
		end := 100
		for end > 0 && !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end] + "…"
	}
	return &rollcall.InvalidError{Field: field, Value: strconv.Quote(value), Rule: rule}
}
