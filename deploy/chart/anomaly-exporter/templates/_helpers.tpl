{{- /* The name of all objects: at most 40 characters, so that there is room for what is added to it. */}}
{{- define "anomaly-exporter.name" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | trunc 23 | trimSuffix "-") .Chart.Name }}
{{- end }}
{{- end }}

{{- define "anomaly-exporter.secret" -}}
{{- .Values.secret.name | default (include "anomaly-exporter.name" .) }}
{{- end }}

{{- define "anomaly-exporter.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}
