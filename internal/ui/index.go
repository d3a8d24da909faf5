package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"maps"
	"path"
	"slices"
	"strings"
)

// index returns the document that every address of the page has, and the policy that it is to be shown under. What is filled in is of
// this program alone: nothing that was registered is ever part of it.
func (a *assets) index(version string) (file, string) {
	text := string(a.source["index.html"])
	text = strings.ReplaceAll(text, "/assets/", "/assets/"+a.digest+"/")
	text = strings.ReplaceAll(text, "{version}", html.EscapeString(version))
	text = strings.ReplaceAll(text, "<!-- modules -->", a.preloads())
	return newFile(kinds[".html"], []byte(text)), policyOf([]byte(text))
}

// preloads has the browser ask for all of the program at once; otherwise it would find each file only in the one before.
func (a *assets) preloads() string {
	var links strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		if ext := path.Ext(name); ext == ".js" || ext == ".mjs" {
			links.WriteString(`<link rel="modulepreload" href="/assets/` + a.digest + `/` + name + `">` + "\n")
		}
	}
	return strings.TrimSuffix(links.String(), "\n")
}

const importMap = `<script type="importmap">`

// policyOf returns the Content-Security-Policy of a document. The import map has to be in it, and is let by its hash; there is no other script
// and no style in it, and strings cannot become either.
func policyOf(document []byte) string {
	_, after, _ := bytes.Cut(document, []byte(importMap))
	text, _, _ := bytes.Cut(after, []byte("</script>"))
	sum := sha256.Sum256(text)
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		"style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
		"require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")
}
