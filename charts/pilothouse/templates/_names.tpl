{{/* Names are fixed: one release a cluster, so that examples and bindings read the same everywhere. */}}

{{- define "pilothouse.operatorAccount" -}}
system:serviceaccount:{{ .Release.Namespace }}:pilothouse-operator
{{- end }}

{{- define "pilothouse.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "pilothouse.selector" -}}
app.kubernetes.io/name: pilothouse
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Labels of an object; takes the root context as $ and the component, empty for what all of them share. */}}
{{- define "pilothouse.labels" -}}
app.kubernetes.io/name: pilothouse
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/part-of: pilothouse
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Mutate or Demand: how spec.requestedBy comes to be true. */}}
{{- define "pilothouse.stamping" -}}
{{- if ne .Values.policies.stamping "Auto" -}}
{{ .Values.policies.stamping }}
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
Mutate
{{- else -}}
Demand
{{- end -}}
{{- end }}

{{/* Name of the Secret that holds the server's certificate. */}}
{{- define "pilothouse.tlsSecret" -}}
{{- if eq .Values.certificates.mode "existingSecret" -}}
{{ required "certificates.existingSecret.name is required in mode existingSecret" .Values.certificates.existingSecret.name }}
{{- else -}}
pilothouse-server-tls
{{- end -}}
{{- end }}
