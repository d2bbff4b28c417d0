{{/* A right is written once. It is held in the whole cluster, or in a namespace of the scope: a part that is empty is the whole cluster. */}}

{{/* Takes root, part, component, name and rules, and a label of the ClusterRole. */}}
{{- define "pilothouse.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if .part }}Role{{ else }}ClusterRole{{ end }}
metadata:
  name: {{ .name }}
  {{- with .part }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "pilothouse.labels" (dict "root" .root "component" .component) | nindent 4 }}
    {{- if and .aggregate (not .part) }}
    {{ .aggregate }}: "true"
    {{- end }}
rules:
  {{- .rules | trim | nindent 2 }}
{{- end }}

{{/* Rules, bound to the account of a component. Takes root, part, component and rules. */}}
{{- define "pilothouse.grant" -}}
{{- $account := printf "pilothouse-%s" .component }}
{{- /* In a namespace its admin binds the operator to the runners, under the operator's own name. */ -}}
{{- $name := $account }}
{{- if .part }}{{ $name = printf "%s-scope" $account }}{{ end }}
{{- include "pilothouse.role" (merge (dict "name" $name) .) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if .part }}RoleBinding{{ else }}ClusterRoleBinding{{ end }}
metadata:
  name: {{ $name }}
  {{- with .part }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "pilothouse.labels" (dict "root" .root "component" .component) | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: {{ if .part }}Role{{ else }}ClusterRole{{ end }}, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $account }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}
