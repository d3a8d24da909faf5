package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static
var static embed.FS

// assets are the page's files but index.html, by name. All have one address together, made of what is in them: an address that somebody
// has seen never has anything else, and files of two versions are never mixed.
type assets struct {
	digest string
	files  map[string]file
	source map[string][]byte // as they lie in the repository, index.html too
}

// embedded returns what is part of the binary. It is read once, whoever asks; of reading from memory there is no error.
var embedded = sync.OnceValue(func() *assets {
	a := &assets{files: map[string]file{}, source: map[string][]byte{}}
	sum := sha256.New()
	_ = fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		name = strings.TrimPrefix(name, "static/")
		a.source[name] = text
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		if kind, ok := kinds[path.Ext(name)]; ok && name != "index.html" {
			a.files[name] = newFile(kind, text)
		}
		return nil
	})
	a.digest = hex.EncodeToString(sum.Sum(nil))[:16]
	return a
})

// kinds are the types of files that are served; all others, such as licences, are there for those who read the source.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// serve answers a request for <digest>/<name>. A document of another version, as servers behind one address have them while they are
// replaced, is better off with the files of this one than with none; they are not to be kept then.
func (a *assets) serve(w http.ResponseWriter, r *http.Request, name string) {
	digest, name, _ := strings.Cut(name, "/")
	f, ok := a.files[name]
	switch {
	case !ok:
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	case digest == a.digest:
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		w.Header().Set("Cache-Control", "no-cache")
	}
	f.serve(w, r)
}
