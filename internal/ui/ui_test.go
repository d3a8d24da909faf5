package ui

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestEveryAddressOfThePageIsTheSameDocument(t *testing.T) {
	t.Parallel()
	page := New(Config{Version: "v1.2.3"})
	want := body(t, get(t, page, "GET", "/"))
	if !strings.Contains(want, `content="v1.2.3"`) {
		t.Errorf("the version is not in the document:\n%s", want)
	}
	for _, target := range []string{"/services", "/services/shop", "/services/shop/10.0.0.1:80", "/services/shop/a%2Fb", "/services/..%2F..%2Fetc", "/timeline", "/status", "/services?q=x"} {
		resp := get(t, page, "GET", target)
		if got := body(t, resp); resp.StatusCode != http.StatusOK || got != want || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("GET %s: %d %v", target, resp.StatusCode, resp.Header)
		}
		if resp := get(t, page, "HEAD", target); resp.StatusCode != http.StatusOK || body(t, resp) != "" || resp.Header.Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d %v", target, resp.StatusCode, resp.Header)
		}
	}
}

func TestWhatIsNotThePagesIsNotFound(t *testing.T) {
	t.Parallel()
	page := New(Config{})
	digest := embedded().digest
	for _, target := range []string{
		"/nothing", "//", "/servicesx", "/index.html", "/static/app.js", "/assets", "/assets/", "/assets/" + digest, "/assets/" + digest + "/", "/assets/" + digest + "/pages",
		"/assets/" + digest + "/index.html", "/assets/" + digest + "/nothing.js", "/assets/" + digest + "/../ui.go", "/assets/" + digest + "/..%2F..%2Fui.go", "/assets/" + digest + "/pages/../app.js",
		"/assets/" + digest + "//etc/passwd", "/assets/" + digest + "/vendor/README.md", "/assets/" + digest + "/vendor/preact.LICENSE", "/assets/app.js",
	} {
		if resp := get(t, page, "GET", target); resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Security-Policy") == "" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s: %d %v", target, resp.StatusCode, resp.Header)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if resp := get(t, page, method, "/services"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
}

// The policy is what stands between the page and what somebody has written into the registry: not a word of it may go unnoticed.
func TestThePolicyLetsThePageRunItsOwnProgramAndNothingElse(t *testing.T) {
	t.Parallel()
	page := New(Config{})
	resp := get(t, page, "GET", "/")
	_, after, _ := strings.Cut(body(t, resp), `<script type="importmap">`)
	text, _, _ := strings.Cut(after, "</script>")
	sum := sha256.Sum256([]byte(text))
	want := "default-src 'none'; script-src 'self' 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	for _, target := range []string{"/", "/services/x", "/assets/" + embedded().digest + "/app.js", "/nothing"} {
		got := get(t, page, "GET", target).Header
		if got.Get("Content-Security-Policy") != want {
			t.Errorf("%s: %q, want %q", target, got.Get("Content-Security-Policy"), want)
		}
		if got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", target, got)
		}
	}
}

func TestTheDocumentHasNoScriptAndNoStyleOfItsOwn(t *testing.T) {
	t.Parallel()
	text := body(t, get(t, New(Config{Version: `"><script>alert(1)</script>`}), "GET", "/"))
	scripts := regexp.MustCompile(`<script[^>]*>`).FindAllString(text, -1)
	for _, s := range scripts {
		if s != `<script type="importmap">` && !strings.HasPrefix(s, `<script type="module" src="/assets/`) {
			t.Errorf("a script: %s", s)
		}
	}
	if len(scripts) != 2 {
		t.Errorf("%d scripts: %v", len(scripts), scripts)
	}
	if found := regexp.MustCompile(`(?i)<style|\sstyle=|\son\w+=|javascript:|{version}|<!--`).FindString(text); found != "" {
		t.Errorf("the document has %q:\n%s", found, text)
	}
}

var (
	inDocument = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"|: "(/assets/[^"]+)"`)
	imported   = regexp.MustCompile(`(?m)^(?:import|export) [^;"\n]*from "([^"]+)"`)
)

func TestEveryFileThatIsNamedIsServed(t *testing.T) {
	t.Parallel()
	page, a := New(Config{}), embedded()
	document := body(t, get(t, page, "GET", "/"))
	named := 0
	for _, found := range inDocument.FindAllStringSubmatch(document, -1) {
		named++
		target := found[1] + found[2]
		if resp := get(t, page, "GET", target); resp.StatusCode != http.StatusOK || !strings.HasPrefix(target, "/assets/"+a.digest+"/") {
			t.Errorf("index.html: %s: %d", target, resp.StatusCode)
		}
	}
	reached := map[string]bool{"app.js": true}
	for name, source := range a.source {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, found := range imported.FindAllStringSubmatch(string(source), -1) {
			named++
			if !strings.HasPrefix(found[1], ".") {
				if !strings.Contains(document, `"`+found[1]+`": "/assets/`) {
					t.Errorf("%s imports %q, which the import map does not have", name, found[1])
				}
				continue
			}
			target := path.Join(path.Dir(name), found[1])
			reached[target] = true
			if _, ok := a.files[target]; !ok {
				t.Errorf("%s imports %s, which does not exist", name, target)
			}
		}
	}
	for name := range a.files {
		if path.Ext(name) == ".js" && !reached[name] {
			t.Errorf("nobody imports %s", name)
		}
	}
	if named < 40 {
		t.Errorf("only %d names were found: the test looks in the wrong place", named)
	}
}

// What is in a comment of a vendored file, or names a kind of markup, is not asked for by anybody.
func TestThePageNamesNobodyElse(t *testing.T) {
	t.Parallel()
	external := regexp.MustCompile(`(?:https?:)?//[a-zA-Z0-9][\w.-]*\.[a-z]{2,}[^"'` + "`" + `\s]*`)
	kinds := regexp.MustCompile(`^http://www\.w3\.org/(2000/svg|1999/xhtml|1998/Math/MathML|1999/xlink)`)
	for name, source := range embedded().source {
		if strings.HasSuffix(name, ".LICENSE") || path.Ext(name) == ".md" {
			continue
		}
		for _, found := range external.FindAllString(string(source), -1) {
			if !kinds.MatchString(found) {
				t.Errorf("%s names %s", name, found)
			}
		}
	}
}

// All that others have written is filled in as text; nothing here may make markup or programs of it.
func TestNoTextBecomesMarkup(t *testing.T) {
	t.Parallel()
	makes := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:|style="|style=\$\{['"` + "`" + `]`)
	for name, source := range embedded().source {
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		if found := makes.FindString(string(source)); found != "" {
			t.Errorf("%s has %s", name, found)
		}
	}
}
