package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/rollcall-io/rollcall/api"
	_ "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type openAPI struct {
	Paths      map[string]map[string]struct{ OperationID string }
	Components struct{ Schemas map[string]any }
}

func document(t *testing.T) openAPI {
	t.Helper()
	var d openAPI
	if err := json.Unmarshal([]byte(api.OpenAPI()), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDocumentHasEveryCallThatHasARoute(t *testing.T) {
	t.Parallel()
	paths, calls := document(t).Paths, 0
	protoregistry.GlobalFiles.RangeFilesByPackage("rollcall.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
				if rule == nil {
					continue
				}
				calls++
				verb, path := route(rule)
				if got, want := paths[path][verb].OperationID, string(service.Name()+"_"+method.Name()); got != want {
					t.Errorf("%s %s is %q in the document, want %s", verb, path, got, want)
				}
			}
		}
		return true
	})
	if calls == 0 {
		t.Error("no call has a route")
	}
}

func route(rule *annotations.HttpRule) (verb, path string) {
	m := rule.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("pattern"))
	return string(field.Name()), m.Get(field).String()
}

func TestEveryReferenceInTheDocumentLeadsSomewhere(t *testing.T) {
	t.Parallel()
	schemas, references := document(t).Components.Schemas, 0
	for rest := api.OpenAPI(); ; references++ {
		_, after, found := strings.Cut(rest, `"#/components/schemas/`)
		if !found {
			break
		}
		name, after, _ := strings.Cut(after, `"`)
		if schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
		rest = after
	}
	if references == 0 {
		t.Error("the document has no references")
	}
}

func ExampleOpenAPI() {
	var document struct {
		Info struct{ Title, Version string }
	}
	if err := json.Unmarshal([]byte(api.OpenAPI()), &document); err != nil {
		fmt.Println(err)
	}
	fmt.Println(document.Info.Title, document.Info.Version)
	// Output: rollcall v1
}
