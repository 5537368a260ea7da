{{/* What the Pods of both components have in common. Argument: (list $ component values) */}}
{{- define "plumbline.podMeta" -}}
{{- $ := index . 0 -}}
labels:
  {{- include "plumbline.labels" (list $ (index . 1)) | nindent 2 }}
  {{- with (index . 2).podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with (index . 2).podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "plumbline.podSpec" -}}
{{- $ := index . 0 -}}
{{- $values := index . 2 -}}
serviceAccountName: {{ include (printf "plumbline.%s" (index . 1)) $ }}
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if not (kindIs "invalid" ($values.store).fsGroup) }}
  fsGroup: {{ int64 $values.store.fsGroup }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
{{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "plumbline.selector" (list $ (index . 1)) | nindent 12 }}
{{- end }}
{{- end -}}

{{- define "plumbline.container" -}}
{{- $ := index . 0 -}}
{{- $values := index . 2 -}}
name: {{ index . 1 }}
image: {{ include "plumbline.image" (list $ (index . 1)) }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
env:
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- if eq (index . 1) "controller" }}
- name: POD_SERVICE_ACCOUNT
  valueFrom:
    fieldRef:
      fieldPath: spec.serviceAccountName
{{- end }}
{{- if eq (index . 1) "state" }}
- name: MEMORY_LIMIT
  valueFrom:
    resourceFieldRef:
      resource: limits.memory
# In the environment, so that kubectl exec finds them too: plumbline-state keys ...
- name: PLUMBLINE_SEAL_KEYS_SECRET
  value: {{ include "plumbline.sealKeys" $ }}
- name: PLUMBLINE_STORE
  value: {{ $values.store.url | quote }}
{{- if $values.sealing.transit.address }}
- name: PLUMBLINE_SEAL_TRANSIT
  value: {{ include "plumbline.sealTransit" $ | quote }}
{{- end }}
{{- end }}
{{- with ($values.store).env }}
{{- toYaml . | nindent 0 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Argument: the named port that serves /readyz */}}
{{- define "plumbline.readiness" -}}
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ . }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}
