package check

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// kinds makes an empty object of each kind that may be there.
var kinds = map[string]func() any{
	"v1 Namespace":                       func() any { return new(core.Namespace) },
	"v1 ConfigMap":                       func() any { return new(core.ConfigMap) },
	"v1 Service":                         func() any { return new(core.Service) },
	"policy/v1 PodDisruptionBudget":      func() any { return new(policy.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy": func() any { return new(networking.NetworkPolicy) },
	"apps/v1 StatefulSet":                func() any { return new(apps.StatefulSet) },
	"apps/v1 Deployment":                 func() any { return new(apps.Deployment) },
}

// manifests decodes every document of a file, and refuses what its type does not have.
func manifests(t *testing.T, file string) []any {
	t.Helper()
	text, err := os.ReadFile("../kubernetes/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for n, doc := range strings.Split(string(text), "\n---\n") {
		var head meta.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			t.Fatal(err)
		}
		empty, known := kinds[head.APIVersion+" "+head.Kind]
		if !known {
			t.Fatalf("%s, document %d: a %s of %s is unknown here", file, n, head.Kind, head.APIVersion)
		}
		object := empty()
		if err := yaml.UnmarshalStrict([]byte(doc), object); err != nil {
			t.Fatalf("%s, document %d, a %s: %v", file, n, head.Kind, err)
		}
		all = append(all, object)
	}
	return all
}

func of[T any](t *testing.T, objects []any) []T {
	t.Helper()
	var found []T
	for _, o := range objects {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	if len(found) == 0 {
		t.Fatalf("there is no %T", *new(T))
	}
	return found
}

func TestWhatTheManifestsNameIsThere(t *testing.T) {
	all := manifests(t, "rollcall.yaml")
	set := of[*apps.StatefulSet](t, all)[0]
	pod := set.Spec.Template
	labels := pod.Labels
	if diff := cmp.Diff(labels, set.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("the set selects others than its pods (-pods +selected):\n%s", diff)
	}
	services := map[string]*core.Service{}
	for _, s := range of[*core.Service](t, all) {
		services[s.Name] = s
		if diff := cmp.Diff(labels, s.Spec.Selector); diff != "" {
			t.Errorf("service %s selects others than the pods (-pods +selected):\n%s", s.Name, diff)
		}
		for _, p := range s.Spec.Ports {
			port(t, "service "+s.Name, pod.Spec.Containers[0], p.TargetPort, p.Port)
		}
	}
	if s := services[set.Spec.ServiceName]; s == nil || s.Spec.ClusterIP != core.ClusterIPNone || !s.Spec.PublishNotReadyAddresses {
		t.Errorf("the members' names come from the service %q, which is not headless, or waits for them to be ready", set.Spec.ServiceName)
	}
	for _, p := range of[*networking.NetworkPolicy](t, all) {
		for _, rule := range p.Spec.Ingress {
			for _, door := range rule.Ports {
				port(t, "policy "+p.Name, pod.Spec.Containers[0], *door.Port, 0)
			}
		}
	}
	budget := of[*policy.PodDisruptionBudget](t, all)[0]
	if diff := cmp.Diff(labels, budget.Spec.Selector.MatchLabels); diff != "" || budget.Spec.MaxUnavailable.IntValue() >= (int(*set.Spec.Replicas)+1)/2 {
		t.Errorf("of %d members %v may be taken away: a majority must stay (labels -pods +selected: %s)", *set.Spec.Replicas, budget.Spec.MaxUnavailable, diff)
	}
	for _, o := range all {
		if _, namespace := o.(*core.Namespace); !namespace && o.(meta.Object).GetNamespace() != set.Namespace {
			t.Errorf("%T is in another namespace", o)
		}
	}
}

// port wants a container to have a port of that name, and of that number unless that is 0.
func port(t *testing.T, who string, c core.Container, name intstr.IntOrString, number int32) {
	t.Helper()
	if !slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool {
		return p.Name == name.StrVal && (number == 0 || number == p.ContainerPort)
	}) {
		t.Errorf("%s names the port %s (%d), which the container does not have", who, name.String(), number)
	}
}

func TestEveryMemberIsInTheClusterByItsOwnName(t *testing.T) {
	all := manifests(t, "rollcall.yaml")
	set, settings := of[*apps.StatefulSet](t, all)[0], of[*core.ConfigMap](t, all)[0]
	var cfg struct {
		Cluster map[string]string `json:"cluster"`
		Data    string            `json:"data-dir"`
	}
	if err := yaml.Unmarshal([]byte(settings.Data["rollcall.yaml"]), &cfg); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for n := range *set.Spec.Replicas {
		name := fmt.Sprintf("%s-%d", set.Name, n)
		want[name] = fmt.Sprintf("https://%s.%s.%s.svc:2380", name, set.Spec.ServiceName, set.Namespace)
	}
	if diff := cmp.Diff(want, cfg.Cluster); diff != "" {
		t.Errorf("members (-pods +settings):\n%s", diff)
	}
	mounts := map[string]string{}
	for _, m := range set.Spec.Template.Spec.Containers[0].VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	if claim := set.Spec.VolumeClaimTemplates[0].Name; mounts[claim] == "" || !strings.HasPrefix(cfg.Data, mounts[claim]+"/") {
		t.Errorf("the data is in %s, and the volume %s at %q", cfg.Data, claim, mounts[claim])
	}
	if set.Spec.PodManagementPolicy != apps.ParallelPodManagement {
		t.Error("members are started one after another: the first would wait for ever for a majority")
	}
}

func TestPodsRunAsRestricted(t *testing.T) {
	pods := map[string]core.PodSpec{
		"rollcall": of[*apps.StatefulSet](t, manifests(t, "rollcall.yaml"))[0].Spec.Template.Spec,
		"jie-test": of[*apps.Deployment](t, manifests(t, "service.yaml"))[0].Spec.Template.Spec,
	}
	for name, pod := range pods {
		s := pod.SecurityContext
		if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 || s.SeccompProfile == nil || s.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: the pod may be root, or has no seccomp profile: %+v", name, s)
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: it has a token of Kubernetes", name)
		}
		mountable := map[string]bool{"data": name == "rollcall"}
		for _, v := range pod.Volumes {
			mountable[v.Name] = true
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s/%s: not restricted: %+v", name, c.Name, s)
			}
			if c.StartupProbe == nil || c.ReadinessProbe == nil || c.LivenessProbe == nil {
				t.Errorf("%s/%s: a probe is missing", name, c.Name)
			}
			if c.Lifecycle != nil {
				t.Errorf("%s/%s: it needs no hooks", name, c.Name)
			}
			for _, m := range c.VolumeMounts {
				if !mountable[m.Name] {
					t.Errorf("%s/%s: there is no volume %s", name, c.Name, m.Name)
				}
			}
		}
	}
}

// The numbers are those of docs/serving.md and docs/server.md.
func TestThePodsHaveTheTimeThatAStopTakes(t *testing.T) {
	set, deployment := of[*apps.StatefulSet](t, manifests(t, "rollcall.yaml"))[0], of[*apps.Deployment](t, manifests(t, "service.yaml"))[0]
	for name, row := range map[string]struct{ got, least int64 }{
		"rollcall: stop-timeout and 6 s": {*set.Spec.Template.Spec.TerminationGracePeriodSeconds, 16},
		"jie-test":                       {*deployment.Spec.Template.Spec.TerminationGracePeriodSeconds, 37},
	} {
		if row.got < row.least {
			t.Errorf("%s: killed after %d s, and a stop may take %d", name, row.got, row.least)
		}
	}
	if diff := cmp.Diff(deployment.Spec.Selector.MatchLabels, deployment.Spec.Template.Labels); diff != "" {
		t.Errorf("the deployment selects others than its pods: %s", diff)
	}
	if !strings.Contains(read(t, "../../docs/serving.md"), "terminationGracePeriodSeconds: 40") {
		t.Error("docs/serving.md has another number")
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
