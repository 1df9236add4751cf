"""What of a configuration cannot be in a pod is refused with what to write instead; the rest follows from it."""

import pytest

from deploy.command import notes
from deploy.kubernetes import DeployError
from exporter.config.load import load
from tests.support.cluster import CONFIG

JOBS = "jobs: {load: {expr: node_load1}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            JOBS + "audit: {path: /srv/anomalies.csv}\n",
            "audit.path: /srv/anomalies.csv cannot be written in the pod, where only /var/lib/anomaly-exporter can; "
            "make it relative or put it there, for example in a profile",
        ),
        (JOBS + "state: {path: ../state}\n", "state.path: ../state cannot be written in the pod"),
        (
            JOBS + "models: {path: /var/lib/anomaly-exporter}\n",
            "models.path: /var/lib/anomaly-exporter cannot be written",
        ),
        (JOBS + "state: {path: /var/lib/anomaly-exporterx}\n", "state.path: /var/lib/anomaly-exporterx cannot"),
        (
            JOBS + "web: {listen: 127.0.0.1:9877}\n",
            "web.listen: 127.0.0.1:9877 is reachable only inside the pod, but probes and Prometheus connect "
            "from outside; "
            "write 0.0.0.0:9877, for example in a profile",
        ),
        (
            JOBS + "prometheus: {bearer: {file: token}}\n",
            "prometheus.bearer: token is mounted from a Secret, so it must lie in a folder of its own; write for "
            "example /run/secrets/anomaly-exporter/token",
        ),
        (JOBS + "prometheus: {bearer: {file: /etc/token}}\n", "prometheus.bearer: /etc/token is mounted from a Secret"),
        (
            JOBS + "prometheus: {bearer: {file: /var/lib/anomaly-exporter/s/token}}\n",
            "prometheus.bearer: /var/lib/anomaly-exporter/s/token lies in the folder of the data",
        ),
        (
            JOBS + "prometheus: {bearer: {file: /run/a/token}}\nnotify: {slack: {file: /run/b/token}}\n",
            "notify.slack: file /run/b/token and file /run/a/token would both be the key token of the Secret; give "
            "one of them another name",
        ),
        (
            "prometheus_url: http://localhost:9090\nmetrics: [node_load1]\n"
            "slack_webhook_url: https://hooks.slack.com/services/T0/B0/canary\n",
            "slack_webhook_url: the secret is in the file itself, and a ConfigMap is not secret; "
            "write the configuration "
            "with jobs: and notify: {slack: {env: SLACK_WEBHOOK_URL}}",
        ),
        (
            JOBS + "train: {incidents: incidents.yml}\n",
            "train.incidents: incidents.yml is not in the pod; write /etc/anomaly-exporter/incidents.yml, and keep the "
            "file itself next to the configuration",
        ),
        (
            JOBS + "train: {incidents: /etc/anomaly-exporter/none.yml}\n",
            "none.yml, which goes into the ConfigMap, cannot",
        ),
        (
            JOBS + "models: {path: models}\nstate: {path: state, shared: shared}\ntrain: {shards: 3}\n",
            "state.shared: /var/lib/anomaly-exporter/shared would be on each pod's own volume, where no other replica "
            "finds it; write /var/lib/anomaly-exporter/models/.state, on the volume of models.path, which all replicas",
        ),
        (
            JOBS + "state: {path: state, shared: shared}\ntrain: {shards: 3}\n",
            "finds it; that of models.path is what all replicas mount",
        ),
        (JOBS + "# " + "x" * 1_000_001, "bytes are more than a ConfigMap holds"),
    ],
)
def test_what_cannot_be_in_a_pod_is_refused_with_what_to_write_instead(planned, text, told):
    with pytest.raises(DeployError) as refusal:
        planned(text)
    assert told in str(refusal.value)
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("name", ["Judge", "-judge", "judge.", "a" * 41, "", "a\nb"])
def test_a_name_that_kubernetes_refuses_is_refused_here(planned, name):
    with pytest.raises(DeployError, match="is not a valid name for Kubernetes"):
        planned(name=name)


def test_profile_and_files_go_into_the_pod_as_they_are(planned, tmp_path):
    (tmp_path / "anomaly.prod.yml").write_text('prometheus: {url: "https://mimir.example.com"}\n')
    made = planned(profile="prod")
    assert made.config == {
        "anomaly.yml": CONFIG,
        "anomaly.prod.yml": 'prometheus: {url: "https://mimir.example.com"}\n',
    }
    assert (made.config_file, made.profile) == ("anomaly.yml", "prod")
    assert made.egress[0] == {"ports": [{"port": 443, "protocol": "TCP"}]}


def test_what_alertmanager_reads_itself_is_not_asked_of_the_pod(planned):
    text = JOBS + (
        "alerting:\n  receivers: {team: {slack: {webhook: {file: /run/secrets/slack}, channel: '#alerts'}}}\n"
        "  routes: {ticket: [team]}\n"
    )
    assert planned(text).secret_files == ()


def test_certificates_are_mounted_as_secrets_are(planned):
    text = JOBS + (
        'prometheus: {url: "https://p:9090", tls: {ca_file: /run/secrets/source/ca.pem}}\n'
        "web: {tls: {cert_file: /run/secrets/web/tls.crt, key_file: /run/secrets/web/tls.key}}\n"
    )
    made = planned(text)
    assert set(made.secret_files) == {
        "/run/secrets/source/ca.pem",
        "/run/secrets/web/tls.crt",
        "/run/secrets/web/tls.key",
    }
    assert made.https


def test_nothing_to_keep_needs_no_claim(planned):
    made = planned(JOBS)
    assert (made.keep_state, made.models_path, made.train) == (False, "", False)


def test_known_incidents_go_beside_the_configuration(planned, tmp_path):
    (tmp_path / "incidents.yml").write_text("[]\n")
    made = planned(JOBS + "train: {incidents: /etc/anomaly-exporter/incidents.yml, shards: 3}\n")
    assert made.config["incidents.yml"] == "[]\n"
    assert made.shards == 3


def test_an_object_store_takes_no_volume_and_may_be_connected_to(planned):
    text = JOBS + (
        "models:\n  url: s3://models/anomalies\n  options: {key: {env: S3_KEY}, secret: {file: /run/secrets/s3/secret},"
        ' client_kwargs: {endpoint_url: "http://minio.storage.svc:9000"}}\n'
        "train: {pushgateway: {url: http://10.0.0.7:9091}}\n"
    )
    made = planned(text)
    assert (made.models_path, made.train) == ("", True)
    assert (made.secret_env, made.secret_files) == (("S3_KEY",), ("/run/secrets/s3/secret",))
    assert [rule["ports"][0]["port"] for rule in made.egress] == [9090, 9000, 9091]
    assert made.egress[1]["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]


@pytest.mark.parametrize(("web", "asks"), [("", True), ("web: {ui: false}\n", False)])
def test_the_pages_may_ask_alertmanager_also_where_nobody_may_answer(planned, web, asks):
    made = planned(JOBS + "train: {alertmanager: {url: http://alertmanager.monitoring:9093}}\n" + web)
    assert (9093 in [rule["ports"][0]["port"] for rule in made.egress]) is asks


def test_what_replicas_hand_over_lies_on_the_volume_that_all_of_them_mount(planned, tmp_path):
    def noted(text):
        made = planned(text)
        found = [note for note in notes(load(tmp_path / "anomaly.yml", None, {}), made, {}) if "state.shared" in note]
        return made, found

    models = JOBS + "models: {path: models}\n"
    made, found = noted(models + "state: {path: state, shared: models/.state}\ntrain: {shards: 3}\n")
    assert made.models_path == "/var/lib/anomaly-exporter/models"
    assert not found
    _, [told] = noted(models + "state: {path: state}\ntrain: {shards: 3}\n")
    assert told.endswith("is lost; set it to /var/lib/anomaly-exporter/models/.state, on the volume of the models")
    assert not noted(models + "state: {path: state}\n")[1]
    assert not noted(models + "state: {path: state, shared: shared}\n")[1]  # one replica has all that there is
