// Package ui is the page for people: the registry as it is, live, and what they may do about it. It has no data of its own. The page is a
// program in the browser that asks the API as every other client does, with the caller's own credentials; what is here serves its files,
// which are part of the binary as they lie in the repository.
package ui

import (
	"net/http"
	"strings"
)

// Config is what a page is made of. Nothing is needed.
type Config struct {
	// Version is of the program; the page shows it.
	Version string
}

// New returns what serves the page: for GET and HEAD of its addresses, of what those need, and of nothing else.
func New(cfg Config) http.Handler {
	p := &page{assets: embedded()}
	p.index, p.policy = p.assets.index(cfg.Version)
	return p
}

type page struct {
	assets *assets
	index  file
	policy string
}

// places are the beginnings of the page's addresses. Each of them, and all below, is the same document: what it shows its program finds in
// the address.
var places = []string{"services", "timeline", "status"}

// ServeHTTP implements [http.Handler].
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.protect(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this is to be read", http.StatusMethodNotAllowed)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok {
		p.assets.serve(w, r, name)
		return
	}
	if !placed(r.URL.Path) {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "there is nothing at this path; the page begins at /", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // which lets it be kept, and asked about by its ETag
	p.index.serve(w, r)
}

func placed(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "" {
		return path == "/"
	}
	for _, place := range places {
		if first == place {
			return true
		}
	}
	return false
}

// protect says what a browser may do with the page: run its own program, ask its own server, and nothing else.
func (p *page) protect(h http.Header) {
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
