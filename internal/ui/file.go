package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// file is something to be served, packed once.
type file struct {
	kind   string // its Content-Type
	etag   string
	plain  []byte
	packed []byte // by gzip; nil where that is not smaller
}

func newFile(kind string, text []byte) file {
	sum := sha256.Sum256(text)
	f := file{kind: kind, etag: hex.EncodeToString(sum[:8]), plain: text}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // which is a level, so that there is no error
	_, _ = z.Write(text)
	_ = z.Close()
	if packed.Len() < len(text) {
		f.packed = packed.Bytes()
	}
	return f
}

// serve answers with the file, or says that the client has it. Each form of it has an ETag of its own.
func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, etag := f.plain, `"`+f.etag+`"`
	if f.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if unpacks(r.Header.Get("Accept-Encoding")) {
			body, etag = f.packed, `"`+f.etag+`-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Etag", etag)
	if has(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// unpacks reports whether a client takes gzip, as its Accept-Encoding has it.
func unpacks(accept string) bool {
	for one := range strings.SplitSeq(accept, ",") {
		coding, parameters, _ := strings.Cut(strings.TrimSpace(one), ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		_, weight, weighted := strings.Cut(strings.ToLower(parameters), "q=")
		if !weighted {
			return true
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		return err == nil && q > 0
	}
	return false
}

// has reports whether an If-None-Match names an ETag. Proxies make weak ones of those that they have seen.
func has(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == etag || one == "*" {
			return true
		}
	}
	return false
}
