{{- define "scripts.labels" -}}
app.kubernetes.io/name: pilothouse-scripts
app.kubernetes.io/part-of: pilothouse
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Hosts or pods as JSON. The default is not among the values, since Helm would mix its labels into a selector that is given. */}}
{{- define "scripts.targets" -}}
{{- if .names -}}
{{- dict "names" .names | toJson -}}
{{- else -}}
{{- dict "selector" (.selector | default (dict "matchLabels" (dict "pilothouse.dev/public-scripts" "true"))) | toJson -}}
{{- end -}}
{{- end }}

{{/* What there is and what is chosen, as JSON: names of all files, by kind, and of those that include and exclude leave. */}}
{{- define "scripts.choice" -}}
{{- $uses := dict }}
{{- range $path, $_ := .Files.Glob "jobs/*.yaml" }}
{{- $names := list }}
{{- range ($.Files.Get $path | fromYaml).steps }}
{{- with .script }}{{ $names = append $names .name }}{{ end }}
{{- end }}
{{- $_ := set $uses (base $path | trimSuffix ".yaml") (uniq $names) }}
{{- end }}
{{- $known := list }}
{{- range $path, $_ := .Files.Glob "scripts/*.yaml" }}{{ $known = append $known (base $path | trimSuffix ".yaml") }}{{ end }}
{{- range $name := concat .Values.include .Values.exclude }}
{{- if not (or (has $name $known) (hasKey $uses $name)) }}{{ fail (printf "include, exclude: there is no Script or Job %s" $name) }}{{ end }}
{{- end }}
{{- $jobs := list }}
{{- $left := list }}
{{- $brought := list }}
{{- range $job, $scripts := $uses }}
{{- if and (or (not $.Values.include) (has $job $.Values.include)) (not (has $job $.Values.exclude)) }}
{{- $without := list }}
{{- range $scripts }}{{ if has . $.Values.exclude }}{{ $without = append $without . }}{{ end }}{{ end }}
{{- if $without }}
{{- $left = append $left (printf "%s, which needs %s" $job (join " and " $without)) }}
{{- else }}
{{- $jobs = append $jobs $job }}
{{- $brought = concat $brought $scripts }}
{{- end }}
{{- end }}
{{- end }}
{{- $scripts := list }}
{{- range $known }}
{{- if and (or (not $.Values.include) (has . (concat $.Values.include $brought))) (not (has . $.Values.exclude)) }}{{ $scripts = append $scripts . }}{{ end }}
{{- end }}
{{- dict "scripts" $scripts "jobs" $jobs "left" $left | toJson }}
{{- end }}
