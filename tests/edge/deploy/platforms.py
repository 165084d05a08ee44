"""What each file of examples/deploy makes a platform do: which variables, which port, which probes, how long to wait.

What a file leaves to be filled in is given here: secrets by the names that it has for them, and the addresses of the
identity issuer and of the model service.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "examples" / "deploy"
sys.path.insert(0, str(ROOT / "tests" / "support"))

# From SIGTERM to SIGKILL, by Cloud Run's container contract.
CLOUD_RUN_GRACE = 10.0
# Secrets are handed out as they were stored, and files end in the end of a line.
API_KEY = "sk-test\n"


@dataclass
class Probe:
    """Where a platform looks, every so many seconds; so many failures in a row count."""

    path: str
    period: float
    failures: int = 3


@dataclass
class Platform:
    """A platform, as its file sets it up."""

    name: str
    port: int
    # From SIGTERM to SIGKILL, in seconds.
    grace: float
    variables: dict[str, str]
    # By what they decide: `startup`, `readiness`, `liveness`.
    probes: dict[str, Probe]
    # Whose X-Forwarded-For is to be believed, and what such a proxy appends to it.
    proxy: str
    appended: str = ""
    # What has to lie where: contents by path.
    files: dict[str, str] = field(default_factory=dict)
    tells_callers_apart: bool = True

    def forget_identity(self) -> None:
        """Takes away who vouches for callers, so that they have no name."""
        named = re.compile(r"HOLDALL_(IDENTITY|JWT_\w+)")
        self.variables = {name: value for name, value in self.variables.items() if not named.fullmatch(name)}
        tables = re.compile(r"^\[identity[^\[]*\]\n(?:[^\[].*\n|\n)*", re.MULTILINE)
        self.files = {path: tables.sub("", text) for path, text in self.files.items()}
        self.tells_callers_apart = False

    def span(self, name: str) -> float:
        """One of the times of a stop, `lame_duck` or `drain`, in seconds; as set, or the default."""
        setting = self.variables.get(f"HOLDALL_{name.upper()}")
        for text in self.files.values():
            found = re.search(rf'^{name} = "(.*)"', text, re.MULTILINE)
            setting = found[1] if found else setting
        return float((setting or {"lame_duck": "0s", "drain": "30s"}[name]).removesuffix("s"))


def image_variables() -> dict[str, str]:
    """Those that the image has."""
    found = re.findall(r"^ENV (\w+)=(\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    return dict(found)


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def kubernetes(keys: str) -> Platform:
    settings, deployment = documents("kubernetes.yaml")[:2]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    secrets = {("holdall-upstream", "api-key"): API_KEY, ("holdall-keys", "keys"): keys}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    files = {}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            assert volume["configMap"]["name"] == settings["metadata"]["name"]
            contents = settings["data"]
        else:
            name = volume["secret"]["secretName"]
            contents = {key: value for (secret, key), value in secrets.items() if secret == name}
        files |= {f"{mount['mountPath']}/{key}": value for key, value in contents.items()}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    return Platform(
        name="kubernetes",
        port=ports["http"],
        grace=pod["terminationGracePeriodSeconds"],
        variables=image_variables() | container_variables(container, secrets),
        probes=container_probes(container, ports),
        proxy="10.1.2.3",
        files=files,
    )


def cloud_run(keys: str) -> Platform:
    (service,) = documents("cloudrun.yaml")
    (container,) = service["spec"]["template"]["spec"]["containers"]
    secrets = {("holdall-keys", "1"): keys + "\n", ("openai-api-key", "latest"): API_KEY}
    (port,) = (port["containerPort"] for port in container["ports"])
    return Platform(
        name="cloud run",
        port=port,
        grace=CLOUD_RUN_GRACE,
        # The platform says PORT, as Knative's queue-proxy does.
        variables=image_variables() | container_variables(container, secrets) | {"PORT": str(port)},
        probes=container_probes(container, {}),
        proxy="169.254.1.1",
    )


def fly(keys: str) -> Platform:
    text = (DEPLOY / "fly.toml").read_text()
    settings = tomllib.loads(text)
    command = re.search(r"^#\s+fly secrets set (.*)$", text, re.MULTILINE)[1]
    named = re.findall(r"\b([A-Z_]+)=", command)
    secrets = {"HOLDALL_KEYS": keys, "OPENAI_API_KEY": API_KEY}
    service = settings["http_service"]
    (check,) = service["checks"]
    return Platform(
        name="fly",
        port=service["internal_port"],
        grace=settings["kill_timeout"],
        variables=image_variables() | settings["env"] | {name: secrets[name] for name in named},
        probes={"readiness": Probe(check["path"], float(check["interval"].removesuffix("s")), 1)},
        proxy="172.19.0.2",
        appended=", 192.0.2.1",
    )


def container_variables(container: dict, secrets: dict[tuple[str, str], str]) -> dict[str, str]:
    variables = {}
    for variable in container["env"]:
        if "value" in variable:
            variables[variable["name"]] = variable["value"]
        else:
            secret = variable["valueFrom"]["secretKeyRef"]
            variables[variable["name"]] = secrets[secret["name"], secret["key"]]
    return variables


def container_probes(container: dict, ports: dict[str, int]) -> dict[str, Probe]:
    probes = {}
    (port,) = (port["containerPort"] for port in container["ports"])
    for kind in ("startup", "readiness", "liveness"):
        probe = container.get(f"{kind}Probe")
        if probe is not None:
            target = probe["httpGet"]
            assert ports.get(target["port"], target["port"]) == port, f"the {kind} probe looks at another port"
            probes[kind] = Probe(target["path"], probe["periodSeconds"], probe.get("failureThreshold", 3))
    return probes
