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

{{- /* Labels by which pods are selected; they never change. Takes a list: the root context and the component. */}}
{{- define "anomaly-exporter.selector" -}}
app.kubernetes.io/name: anomaly-exporter
app.kubernetes.io/instance: {{ include "anomaly-exporter.name" (first .) | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- /* Labels of an object; arguments as for the selector. */}}
{{- define "anomaly-exporter.labels" -}}
{{ include "anomaly-exporter.selector" . }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service | quote }}
{{- end }}

{{- /* The part of the spec that all pods share: no privileges. */}}
{{- define "anomaly-exporter.pod" -}}
serviceAccountName: {{ include "anomaly-exporter.name" $ | quote }}
{{- with $.Values.pod }}
{{ toYaml . }}
{{- end }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- /* The part of the container that exporter and training share. */}}
{{- define "anomaly-exporter.container" -}}
image: {{ include "anomaly-exporter.image" $ | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy | quote }}
workingDir: /var/lib/anomaly-exporter
env:
- name: ANOMALY_EXPORTER_CONFIG
  value: "/etc/anomaly-exporter/{{ $.Values.configFile }}"
{{- if $.Values.profile }}
- name: ANOMALY_EXPORTER_PROFILE
  value: {{ $.Values.profile | quote }}
{{- end }}
- name: HOME
  value: /tmp
- name: JOBLIB_TEMP_FOLDER
  value: /tmp
{{- range $key := $.Values.secret.env }}
- name: {{ $key | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ include "anomaly-exporter.secret" $ | quote }}
      key: {{ $key | quote }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop:
    - ALL
  readOnlyRootFilesystem: true
volumeMounts:
- name: config
  mountPath: /etc/anomaly-exporter
  readOnly: true
- name: data
  mountPath: /var/lib/anomaly-exporter
{{- if $.Values.models.path }}
- name: models
  mountPath: {{ $.Values.models.path | quote }}
{{- end }}
{{- range $number, $files := $.Values.secret.files }}
- name: secrets-{{ $number }}
  mountPath: {{ $files.folder | quote }}
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- end }}

{{- /* The volumes that exporter and training share: model store, secrets, /tmp. */}}
{{- define "anomaly-exporter.volumes" -}}
{{- if $.Values.models.path }}
- name: models
  persistentVolumeClaim:
    claimName: "{{ include "anomaly-exporter.name" $ }}-models"
{{- end }}
{{- range $number, $files := $.Values.secret.files }}
- name: secrets-{{ $number }}
  secret:
    secretName: {{ include "anomaly-exporter.secret" $ | quote }}
    items:
{{- range $key := $files.keys }}
    - key: {{ $key | quote }}
      path: {{ $key | quote }}
{{- end }}
    defaultMode: 288
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end }}

{{- /* A probe of /-/healthy or /-/ready. A kubelet has no client certificate, so it can only open the port then.
     Takes a list: the root context and the last part of the path. */}}
{{- define "anomaly-exporter.probe" -}}
{{- if (first .).Values.page.clientCertificates -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: /-/{{ last . }}
  port: metrics
{{- if (first .).Values.page.https }}
  scheme: HTTPS
{{- end }}
{{- end }}
{{- end }}
