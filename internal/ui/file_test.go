package ui

import (
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"
)

func TestAFileIsKeptForGoodUnderTheAddressOfItsVersionOnly(t *testing.T) {
	t.Parallel()
	page, a := New(Config{}), embedded()
	ours := get(t, page, "GET", "/assets/"+a.digest+"/app.js")
	if got := ours.Header.Get("Cache-Control"); ours.StatusCode != http.StatusOK || got != "public, max-age=31536000, immutable" {
		t.Errorf("of this version: %d, %q", ours.StatusCode, got)
	}
	others := get(t, page, "GET", "/assets/0123456789abcdef/app.js")
	if got := others.Header.Get("Cache-Control"); others.StatusCode != http.StatusOK || got != "no-cache" {
		t.Errorf("of another version: %d, %q", others.StatusCode, got)
	}
	if body(t, ours) != string(a.source["app.js"]) || body(t, others) != string(a.source["app.js"]) {
		t.Error("app.js is not what lies in the repository")
	}
}

func TestAFileIsPackedForWhoTakesThat(t *testing.T) {
	t.Parallel()
	page, a := New(Config{}), embedded()
	target := "/assets/" + a.digest + "/vendor/preact.mjs"
	want := string(a.source["vendor/preact.mjs"])
	for accept, packed := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br": true, "br;q=1, gzip;q=0.5": true, "GZIP": true, "gzip;q=0": false, "gzip; q=0.0": false, "deflate": false, "identity": false, "gzip;q=x": false,
	} {
		resp := get(t, page, "GET", target, "Accept-Encoding: "+accept)
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != packed || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: packed is %v: %v", accept, got, resp.Header)
		}
		size, _ := strconv.Atoi(resp.Header.Get("Content-Length"))
		if packed != (size < len(want)/2) {
			t.Errorf("%q: %d bytes of %d", accept, size, len(want))
		}
		if got := body(t, resp); got != want {
			t.Errorf("%q: %d bytes come out, want %d", accept, len(got), len(want))
		}
	}
}

func TestAFileThatTheClientHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	page := New(Config{})
	for _, accept := range []string{"", "gzip"} {
		tag := get(t, page, "GET", "/", "Accept-Encoding: "+accept).Header.Get("Etag")
		for _, had := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			resp := get(t, page, "GET", "/services", "Accept-Encoding: "+accept, "If-None-Match: "+had)
			if resp.StatusCode != http.StatusNotModified || resp.Header.Get("Etag") != tag || body(t, resp) != "" || resp.Header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s: %d %v", had, resp.StatusCode, resp.Header)
			}
		}
		if resp := get(t, page, "GET", "/", "Accept-Encoding: "+accept, `If-None-Match: "other"`); resp.StatusCode != http.StatusOK {
			t.Errorf("another tag: %d", resp.StatusCode)
		}
	}
	plain, packed := get(t, page, "GET", "/").Header.Get("Etag"), get(t, page, "GET", "/", "Accept-Encoding: gzip").Header.Get("Etag")
	if plain == packed {
		t.Errorf("the packed and the plain form have one tag, %s", plain)
	}
}

func TestEveryKindOfFileHasItsType(t *testing.T) {
	t.Parallel()
	page, a := New(Config{}), embedded()
	for name := range a.files {
		resp := get(t, page, "GET", "/assets/"+a.digest+"/"+name)
		want := map[string]string{".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}[path.Ext(name)]
		if got := resp.Header.Get("Content-Type"); want == "" || !strings.HasPrefix(got, want) {
			t.Errorf("%s has the type %q", name, got)
		}
	}
}
