{{/* Whoever changes a spec answers for it; the operator's finalizers, labels and status change none. */}}
{{- define "pilothouse.specWritten" -}}
- name: spec-written
  expression: has(object.spec) && (request.operation == 'CREATE' || object.spec != oldObject.spec)
{{- end }}

{{/* True when the operator itself asks, not an account that it acts as. */}}
{{- define "pilothouse.byOperator" -}}
request.userInfo.username == '{{ include "pilothouse.operatorAccount" . }}'
{{- end }}

{{- define "pilothouse.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "pilothouse.labels" (dict "root" .root "component" "policy") | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{- define "pilothouse.kinds" -}}
resourceRules:
  - apiGroups: [pilothouse.dev]
    apiVersions: ["*"]
    operations: [CREATE, UPDATE]
    resources: {{ . }}
{{- end }}
