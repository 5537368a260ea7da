{{/* The release's name, and the chart's where the release is not named after it. */}}
{{- define "plumbline.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "plumbline.controller" -}}{{ include "plumbline.fullname" . }}-controller{{- end -}}
{{- define "plumbline.state" -}}{{ include "plumbline.fullname" . }}-state{{- end -}}
{{- define "plumbline.sealKeys" -}}
{{ .Values.state.sealing.secretName | default (printf "%s-keys" (include "plumbline.state" .)) }}
{{- end -}}
{{/* The address of the transit key, as --seal-transit takes it. */}}
{{- define "plumbline.sealTransit" -}}
{{- with .Values.state.sealing.transit -}}
{{- $query := dict "mount" .mount "auth" .authPath "role" .role -}}
{{- with .namespace }}{{ $_ := set $query "namespace" . }}{{ end -}}
{{- if .caSecretName }}{{ $_ := set $query "ca" "/var/run/secrets/plumbline/vault-ca/ca.crt" }}{{ end -}}
{{- $pairs := list -}}
{{- range $name, $value := $query }}{{ $pairs = append $pairs (printf "%s=%s" $name (urlquery $value)) }}{{ end -}}
{{ trimSuffix "/" .address }}/{{ .key }}?{{ join "&" $pairs }}
{{- end -}}
{{- end -}}
{{- define "plumbline.tls" -}}
{{ .Values.state.tls.secretName | default (printf "%s-tls" (include "plumbline.state" .)) }}
{{- end -}}

{{/* What the controller, and through it each runner Pod, checks the state service's certificate against. */}}
{{- define "plumbline.ca" -}}
{{- $tls := .Values.state.tls -}}
{{- if $tls.ca.configMapName -}}
configMap:
  name: {{ $tls.ca.configMapName }}
  items:
  - key: {{ $tls.ca.key | default "ca.crt" }}
    path: ca.crt
{{- else if eq $tls.mode "openshift" -}}
configMap:
  name: {{ include "plumbline.state" . }}-ca
  items:
  - key: service-ca.crt
    path: ca.crt
{{- else -}}
secret:
  name: {{ include "plumbline.tls" . }}
  items:
  - key: ca.crt
    path: ca.crt
{{- end -}}
{{- end -}}

{{/* Argument: (list $ component) */}}
{{- define "plumbline.selector" -}}
app.kubernetes.io/name: plumbline
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "plumbline.labels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: plumbline
app.kubernetes.io/instance: {{ $.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ $.Chart.Name }}-{{ $.Chart.Version }}
{{- with $.Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Argument: (list $ image) */}}
{{- define "plumbline.image" -}}
{{- $ := index . 0 -}}
{{- $image := $.Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{ $image.repository }}/{{ index . 1 }}:{{ $image.tag | default $.Chart.AppVersion }}
{{- end -}}
