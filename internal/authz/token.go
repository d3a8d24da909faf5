package authz

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A token is at least 32 random bytes, which are so many characters in base64. The server knows its SHA-256 only: what is as random as
// that cannot be guessed from a hash.
const (
	minToken = 43
	maxToken = 1024
)

// tokens are the hashes of the file of tokens. They do not change.
type tokens struct{ all []token }

type token struct {
	name string
	hash [sha256.Size]byte
}

// parseTokens reads "name: hash" lines, or "name: [hash, hash]" while somebody moves from one token to the next.
func parseTokens(text []byte) (*tokens, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("there are none")
	} else if err != nil {
		return nil, plain(err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document")
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("a line is name: SHA-256 of the token, as 64 hexadecimal digits")
	}
	t, errs := new(tokens), []error(nil)
	pairs := document.Content[0].Content
	if len(pairs) == 0 {
		errs = append(errs, errors.New("there are none"))
	}
	seen := map[string]bool{}
	for n := 0; n+1 < len(pairs); n += 2 {
		name, value := pairs[n], pairs[n+1]
		if err := t.add(name, value, seen); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", name.Line, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// plain keeps what is in a file of secrets out of an error.
func plain(err error) error {
	line, _, found := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), ":")
	if !found || !strings.HasPrefix(line, "line ") {
		return errors.New("it is not YAML")
	}
	return errors.New(line + ": it is not YAML")
}

func (t *tokens) add(name, value *yaml.Node, seen map[string]bool) error {
	hashes := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		hashes = value.Content
	}
	if name.Kind != yaml.ScalarNode || !tokenName(name.Value) {
		return errors.New("a token's name is of A-Z a-z 0-9 . _ - /")
	}
	if seen["name "+name.Value] {
		return fmt.Errorf("%s is there twice", name.Value)
	}
	seen["name "+name.Value] = true
	if len(hashes) == 0 {
		return fmt.Errorf("%s has no token", name.Value)
	}
	for _, node := range hashes {
		one := token{name: "token:" + name.Value}
		sum, err := hex.DecodeString(node.Value)
		if node.Kind != yaml.ScalarNode || err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("%s: it is not a SHA-256, as 64 hexadecimal digits", name.Value)
		}
		copy(one.hash[:], sum)
		if one.hash == sha256.Sum256(nil) || one.hash == sha256.Sum256([]byte("\n")) || one.hash == [sha256.Size]byte{} {
			return fmt.Errorf("%s: it is the SHA-256 of nothing", name.Value)
		}
		if seen["hash "+string(sum)] {
			return fmt.Errorf("%s: the token is there twice", name.Value)
		}
		seen["hash "+string(sum)] = true
		t.all = append(t.all, one)
	}
	return nil
}

func tokenName(name string) bool {
	for _, c := range []byte(name) {
		if !nameByte(c) && c != '/' {
			return false
		}
	}
	return name != "" && len(name) <= 253
}

// find returns who holds the token of a hash; "" for nobody. It takes the same time whoever that is.
func (t *tokens) find(hash [sha256.Size]byte) string {
	name := ""
	for _, one := range t.all {
		if subtle.ConstantTimeCompare(one.hash[:], hash[:]) == 1 {
			name = one.name
		}
	}
	return name
}

// bearer returns the hash of the token in an Authorization header.
func bearer(header string) (hash [sha256.Size]byte, err error) {
	scheme, text, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return hash, errors.New("an Authorization is Bearer and a token")
	}
	if len(text) < minToken || len(text) > maxToken {
		return hash, errors.New("what is given is no token: one has " + strconv.Itoa(minToken) + " characters at least")
	}
	return sha256.Sum256([]byte(text)), nil
}
