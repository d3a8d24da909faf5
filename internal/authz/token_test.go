package authz

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

var (
	tokenA = strings.Repeat("a", 43)
	tokenB = strings.Repeat("b", 64)
)

func TestATokenIsItsHoldersAndNobodyElses(t *testing.T) {
	t.Parallel()
	all, err := parseTokens([]byte("# who\nci: " + hashOf(tokenA) + "\nnode/1: [" + hashOf(tokenB) + ", '" + hashOf(tokenB+"2") + "']\n"))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"Bearer " + tokenA:                    "token:ci",
		"bearer " + tokenA:                    "token:ci",
		"Bearer " + tokenB:                    "token:node/1",
		"Bearer " + tokenB + "2":              "token:node/1",
		"Bearer " + tokenA + "a":              "",
		"Bearer " + tokenA[1:]:                "",
		"Bearer  " + tokenA:                   "",
		"Bearer " + tokenA + " ":              "",
		"Bearer " + hashOf(tokenA):            "",
		"Bearer":                              "",
		"Bearer ":                             "",
		"":                                    "",
		"Basic " + tokenA:                     "",
		tokenA:                                "",
		"Bearer " + strings.Repeat("x", 1025): "",
		"Bearer " + strings.ToUpper(tokenA):   "",
	} {
		hash, err := bearer(header)
		got := ""
		if err == nil {
			got = all.find(hash)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", header, got, want)
		}
	}
	if (&tokens{}).find(sha256.Sum256([]byte(tokenA))) != "" {
		t.Error("without tokens somebody holds one")
	}
}

func TestAFileOfTokensThatIsNotExactlyThatIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	a, b := hashOf(tokenA), hashOf(tokenB)
	for what, text := range map[string]string{
		"nothing":                   "",
		"an empty mapping":          "{}",
		"a list":                    "- " + a,
		"a word":                    a,
		"a short hash":              "ci: " + a[1:],
		"a long hash":               "ci: " + a + "0",
		"no hexadecimal digits":     "ci: " + strings.Repeat("z", 64),
		"a token itself":            "ci: " + tokenA,
		"no hash":                   "ci:\n",
		"no hashes":                 "ci: []\n",
		"a hash within a mapping":   "ci: {sha256: " + a + "}",
		"a name twice":              "ci: " + a + "\nci: " + b,
		"a token of two":            "ci: " + a + "\nops: " + a,
		"a token twice":             "ci: [" + a + ", " + a + "]",
		"a name with a space":       "c i: " + a,
		"an empty name":             "'': " + a,
		"a name that is a pattern":  "'*': " + a,
		"two documents":             "ci: " + a + "\n---\nops: " + b,
		"an alias":                  "ci: &x " + a + "\nops: *x\n",
		"the hash of nothing (S4)":  "ci: " + hashOf(""),
		"the hash of a line's end":  "ci: " + hashOf("\n"),
		"a hash that is all zeroes": "ci: " + strings.Repeat("0", 64),
		"no YAML":                   "ci: '" + a,
		"a tab":                     "ci:\t\n\t" + a,
	} {
		all, err := parseTokens([]byte(text))
		if err == nil {
			t.Errorf("%s: it is taken as %d tokens", what, len(all.all))
		} else if strings.Contains(err.Error(), a[:12]) || strings.Contains(err.Error(), tokenA[:12]) {
			t.Errorf("%s: the error shows what is in the file: %v", what, err)
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte("ci: "+hashOf(tokenA)), "Bearer "+tokenA)
	f.Add([]byte("ci: ["+hashOf(tokenA)+"]"), "bearer x")
	f.Add([]byte("ci: 1e10\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, header string) {
		all, err := parseTokens(text)
		if err != nil {
			return
		}
		hash, err := bearer(header)
		if err != nil {
			return
		}
		if name := all.find(hash); name != "" && !strings.Contains(strings.ToLower(string(text)), hex.EncodeToString(hash[:])) && !strings.Contains(string(text), "\\") {
			t.Errorf("%q is %s by a token that is not in the file", header, name)
		}
	})
}
