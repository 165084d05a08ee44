"""The files of examples/deploy under what checks such files, and each checker on a file that is wrong."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

import jsonschema
import kubernetes_validate
import platforms
from holdall import new_keys
from platforms import CLOUD_RUN_GRACE, DEPLOY, ROOT, documents

# SAM's transformation wants to know where it is; it asks nobody.
os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"

# What fly.toml may have of what Fly documents; a key beside these is a slip, or a reason to look it up and add it here.
SPAN = {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"}


def table(required: list[str] | None = None, **members: dict) -> dict:
    return {"type": "object", "properties": members, "required": required or [], "additionalProperties": False}


TEXT, COUNT, FLAG = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}, {"type": "boolean"}
FLY = table(
    ["app", "http_service", "env"],
    app=TEXT,
    primary_region={"type": "string", "pattern": "^[a-z]{3}$"},
    kill_signal={"enum": ["SIGINT", "SIGTERM"]},
    kill_timeout={"type": "integer", "minimum": 1, "maximum": 300},
    build=table(dockerfile=TEXT, ignorefile=TEXT),
    deploy=table(strategy={"enum": ["canary", "rolling", "bluegreen", "immediate"]}),
    env={"type": "object", "additionalProperties": {"type": "string"}},
    http_service=table(
        ["internal_port"],
        internal_port={"type": "integer", "minimum": 1, "maximum": 65_535},
        force_https=FLAG,
        auto_start_machines=FLAG,
        auto_stop_machines={"enum": ["off", "stop", "suspend"]},
        min_machines_running={"type": "integer", "minimum": 0},
        concurrency=table(type={"enum": ["connections", "requests"]}, soft_limit=COUNT, hard_limit=COUNT),
        checks={
            "type": "array",
            "items": table(
                ["path", "interval", "timeout"],
                method={"enum": ["GET", "HEAD"]},
                path={"type": "string", "pattern": "^/"},
                interval=SPAN,
                timeout=SPAN,
                grace_period=SPAN,
            ),
        },
    ),
    vm={
        "type": "array",
        "items": table(size={"type": "string", "pattern": "^(shared|performance)-(cpu-)?[0-9]+x$"}, memory=TEXT),
    },
)
# Knative's own, around the pod that it makes.
KNATIVE = table(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "serving.knative.dev/v1"},
    kind={"const": "Service"},
    metadata=table(["name"], name=TEXT, annotations={"type": "object"}, labels={"type": "object"}),
    spec=table(
        ["template"],
        template=table(
            ["spec"],
            metadata=table(annotations={"type": "object"}, labels={"type": "object"}),
            spec={
                "type": "object",
                "properties": {
                    "containerConcurrency": {"type": "integer", "minimum": 0, "maximum": 1_000},
                    "timeoutSeconds": {"type": "integer", "minimum": 1, "maximum": 3_600},
                    "containers": {"type": "array", "minItems": 1, "maxItems": 1},
                },
                "required": ["containers"],
            },
        ),
    ),
)


def check_fly(text: str) -> None:
    jsonschema.validate(tomllib.loads(text), FLY)


def check_kubernetes(parts: list[dict]) -> None:
    for part in parts:
        kubernetes_validate.validate(part, kubernetes_validate.latest_version(), strict=True)


def check_knative(service: dict) -> None:
    """Its own members, and what is left as the pod that Knative makes of it."""
    jsonschema.validate(service, KNATIVE)
    pod = copy.deepcopy(service["spec"]["template"]["spec"])
    pod.pop("containerConcurrency", None)
    pod.pop("timeoutSeconds", None)
    for container in pod["containers"]:
        # A container without a name gets one.
        container.setdefault("name", "user-container")
    check_kubernetes([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "knative"}, "spec": pod}])


def said_by(*command: str) -> tuple[bool, str]:
    """Whether a checker is content, and what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def check_sam(text: str) -> tuple[bool, str]:
    """The template as it is written, and what the platform's own transformation makes of it."""
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    with tempfile.TemporaryDirectory() as name:
        written = Path(name, "template.yaml")
        written.write_text(text)
        content, said = said_by("cfn-lint", str(written))
        if not content:
            return False, said
        template = yaml_parse(text)
        # `sam package` puts the folder there.
        template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
        try:
            made = transform(template, {}, type("Policies", (), {"load": lambda _: {}})())
        except InvalidDocumentException as error:
            return False, str(error.causes)
        expanded = Path(name, "expanded.json")
        expanded.write_text(json.dumps(made))
        return said_by("cfn-lint", str(expanded))


class Files(unittest.TestCase):
    def assert_content(self, outcome: tuple[bool, str]) -> None:
        self.assertTrue(outcome[0], outcome[1])

    def changed(self, name: str, old: str, new: str) -> str:
        """A file of the folder with a slip in it."""
        text = (DEPLOY / name).read_text()
        self.assertIn(old, text)
        return text.replace(old, new, 1)

    def test_the_image_is_well_made(self) -> None:
        self.assert_content(said_by("hadolint", str(DEPLOY / "Dockerfile")))

    def test_a_slip_in_the_image_is_noticed(self) -> None:
        slips = [("WORKDIR /", "WORKDIR "), ('CMD ["serve"]', "CMD serve"), ("EXPOSE 8080", "EXPOSE 80800")]
        for old, new in slips:
            with self.subTest(new), tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "Dockerfile")
                file.write_text(self.changed("Dockerfile", old, new))
                self.assertFalse(said_by("hadolint", str(file))[0])

    def test_scripts_are_well_made(self) -> None:
        scripts = [DEPLOY / "build-static", *(ROOT / "tests" / "edge").glob("*/run")]
        # The scripts name the files that they include by their paths from the root.
        options = ["--external-sources", f"--source-path={ROOT}"]
        self.assert_content(said_by("shellcheck", *options, *map(str, scripts)))

    def test_a_slip_in_a_script_is_noticed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "build-static")
            file.write_text(self.changed("build-static", 'rm -rf "$home"', "rm -rf $home/*"))
            self.assertFalse(said_by("shellcheck", str(file))[0])

    def test_kubernetes_takes_it(self) -> None:
        parts = documents("kubernetes.yaml")
        check_kubernetes(parts)
        kinds = {part["kind"] for part in parts}
        self.assertEqual(
            kinds, {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
        )
        # They mean each other.
        deployment = parts[1]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        for part in parts[1:4]:
            selector = part["spec"]["selector"]
            self.assertEqual(selector.get("matchLabels", selector), labels, part["kind"])
        self.assertEqual(parts[4]["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"])

    def test_kubernetes_runs_it_with_no_rights(self) -> None:
        pod = documents("kubernetes.yaml")[1]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        self.assertEqual(
            container["securityContext"],
            {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        )
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse(pod["automountServiceAccountToken"])

    def test_a_slip_in_kubernetes_is_noticed(self) -> None:
        for path, value in [
            (("spec", "template", "spec", "terminationGracePeriod"), 45),
            (("spec", "template", "spec", "terminationGracePeriodSeconds"), "45"),
            (("spec", "template", "spec", "containers", 0, "readinesProbe"), {}),
            (("spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet", "pfad"), "/ready"),
        ]:
            with self.subTest(path):
                deployment = copy.deepcopy(documents("kubernetes.yaml")[1])
                place = deployment
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = value
                with self.assertRaises(kubernetes_validate.ValidationError):
                    check_kubernetes([deployment])

    def test_knative_takes_it(self) -> None:
        (service,) = documents("cloudrun.yaml")
        check_knative(service)

    def test_a_slip_in_knative_is_noticed(self) -> None:
        (service,) = documents("cloudrun.yaml")
        for path, value in [
            (("spec", "template", "spec", "timeoutSeconds"), "600"),
            (("spec", "template", "spec", "containerConcurency"), 40),
            (("spec", "templates"), {}),
            (("spec", "template", "spec", "containers", 0, "startupProbes"), {}),
        ]:
            with self.subTest(path):
                broken = copy.deepcopy(service)
                place = broken
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = value
                with self.assertRaises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
                    check_knative(broken)

    def test_fly_takes_it(self) -> None:
        check_fly((DEPLOY / "fly.toml").read_text())
        settings = tomllib.loads((DEPLOY / "fly.toml").read_text())
        for file in settings["build"].values():
            self.assertTrue((DEPLOY / file).is_file(), file)

    def test_a_slip_in_fly_is_noticed(self) -> None:
        for old, new in [
            ("kill_timeout = 40", 'kill_timeout = "40"'),
            ("internal_port", "internal_ports"),
            ('interval = "5s"', 'interval = "5"'),
            ('path = "/ready"', 'path = "ready"'),
        ]:
            with self.subTest(new), self.assertRaises(jsonschema.ValidationError):
                check_fly(self.changed("fly.toml", old, new))

    def test_sam_takes_it(self) -> None:
        self.assert_content(check_sam((DEPLOY / "template.yaml").read_text()))

    def test_a_slip_in_sam_is_noticed(self) -> None:
        for old, new in [
            ("FunctionUrlConfig", "FunctionUrlConf"),
            ("RESPONSE_STREAM", "STREAM"),
            ("provided.al2023", "provided.al2030"),
            ("!Ref KeySet", "!Ref KeySett"),
            ("MemorySize: 512", "MemorySize: 51"),
            ("AuthType: NONE", "AuthType: OPEN"),
        ]:
            with self.subTest(new):
                self.assertFalse(check_sam(self.changed("template.yaml", old, new))[0])

    def test_a_body_holds_what_it_may_hold(self) -> None:
        """A token, a message and an image, which travels in base64."""
        limits = tomllib.loads(documents("kubernetes.yaml")[0]["data"]["holdall.toml"])["limits"]
        message = limits.get("message_bytes", 256 << 10)
        image = -(-limits["image_bytes"] // 3) * 4
        self.assertGreater(limits["body_bytes"], limits["token_bytes"] + message + image)
        # The image has to fit into the conversation as well.
        self.assertGreater(limits["history_bytes"], message + image)

    def test_variables_are_those_of_the_documents(self) -> None:
        known = set(re.findall(r"`(HOLDALL_[A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text()))
        self.assertIn("HOLDALL_KEYS", known)
        for file in sorted(DEPLOY.iterdir()):
            named = set(re.findall(r"\bHOLDALL_[A-Z_]+\b", file.read_text())) - {"HOLDALL_TOOLS"}
            self.assertLessEqual(named, known, file.name)

    def test_every_platform_waits_for_longer_than_a_stop_takes(self) -> None:
        """By 1 s and more: clients get a second for their last bytes, a store another."""
        for make in (platforms.kubernetes, platforms.cloud_run, platforms.fly):
            setup = make(new_keys())
            stop = setup.span("lame_duck") + setup.span("drain") + 2
            self.assertLessEqual(stop + 1, setup.grace, setup.name)
        self.assertEqual(platforms.cloud_run("").grace, CLOUD_RUN_GRACE)

    def test_no_file_holds_a_secret(self) -> None:
        for file in sorted(DEPLOY.iterdir()):
            secret = r"sk-[A-Za-z0-9]{8}|\b[A-Za-z0-9_-]{1,32}:[A-Za-z0-9_-]{43}\b"
            self.assertNotRegex(file.read_text(), secret, file.name)
