{{/* The store's pod, with SQLite on a volume or with PostgreSQL and nothing of its own. */}}
{{- define "pilothouse.store" -}}
{{- $postgres := .Values.records.postgres -}}
metadata:
  {{- include "pilothouse.podMetadata" (dict "root" $ "component" "server" "values" .Values.server) | nindent 2 }}
spec:
  serviceAccountName: pilothouse-server
  automountServiceAccountToken: true
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.server.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "pilothouse.podSecurity" . | nindent 4 }}
    {{- if not $postgres.secretRef.name }}
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
  {{- with include "pilothouse.placement" .Values.server }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if $postgres.secretRef.name }}
  topologySpreadConstraints:
    {{- include "pilothouse.spread" (dict "component" "server" "values" $postgres) | nindent 4 }}
  {{- end }}
  containers:
    - name: server
      image: {{ include "pilothouse.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [/server]
      args:
        - --namespace={{ .Release.Namespace }}
        {{- with .Values.scope.namespaces }}
        - --namespaces={{ join "," . }}
        {{- end }}
        - --service-name=pilothouse-server
        - --operator-account={{ include "pilothouse.operatorAccount" . }}
        - --front-account=system:serviceaccount:{{ .Release.Namespace }}:pilothouse-front
        - --webhook-account=system:serviceaccount:{{ .Release.Namespace }}:pilothouse-webhook
        - --retention-age={{ .Values.server.retention.age }}
        - --retention-audit-age={{ .Values.server.retention.auditAge }}
        - --retention-size={{ .Values.server.retention.size }}
        - --store-addr=0.0.0.0:7443
        - --health-addr=0.0.0.0:8080
        {{- if eq .Values.certificates.mode "self" }}
        - --tls-mode=self
        {{- else }}
        - --tls-mode=files
        - --tls-dir=/tls
        {{- end }}
      env:
        {{- if $postgres.secretRef.name }}
        - {name: PILOTHOUSE_POSTGRES_URL_FILE, value: /postgres/url}
        {{- if $postgres.caSecretRef.name }}
        - {name: PILOTHOUSE_POSTGRES_CA_FILE, value: /postgres/ca.crt}
        {{- end }}
        {{- else }}
        # Not an argument: backup and restore, which are typed in this pod, read it as well.
        - {name: PILOTHOUSE_DATA_DIR, value: /data}
        {{- end }}
        {{- include "pilothouse.environment" (dict "root" $ "extra" .Values.server.extraEnv) | nindent 8 }}
      ports:
        - {name: store, containerPort: 7443}
        - {name: health, containerPort: 8080}
      {{- include "pilothouse.probes" . | nindent 6 }}
      resources:
        {{- toYaml .Values.server.resources | nindent 8 }}
      securityContext:
        {{- include "pilothouse.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- if $postgres.secretRef.name }}
        - {name: postgres, mountPath: /postgres, readOnly: true}
        {{- else }}
        - {name: data, mountPath: /data}
        {{- end }}
        {{- if ne .Values.certificates.mode "self" }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
  {{- if or $postgres.secretRef.name (ne .Values.certificates.mode "self") }}
  volumes:
    {{- if ne .Values.certificates.mode "self" }}
    - name: tls
      secret: {secretName: {{ include "pilothouse.tlsSecret" . }}, defaultMode: 0440}
    {{- end }}
    {{- if $postgres.secretRef.name }}
    # Read anew for each connection: a Secret that changes is taken up without a restart.
    - name: postgres
      projected:
        defaultMode: 0440
        sources:
          - secret:
              name: {{ $postgres.secretRef.name }}
              items: [{key: {{ $postgres.secretRef.key }}, path: url}]
          {{- with $postgres.caSecretRef }}
          {{- if .name }}
          - secret:
              name: {{ .name }}
              items: [{key: {{ .key }}, path: ca.crt}]
          {{- end }}
          {{- end }}
    {{- end }}
  {{- end }}
{{- end }}
