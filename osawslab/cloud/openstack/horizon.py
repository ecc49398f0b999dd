"""Horizon, OpenStack's dashboard: Debian's package, served by uWSGI to this host alone.

uWSGI and its Python are there for the other services, so there is no Apache. Settings are those of
the install guide (docs.openstack.org/horizon/2025.1/install), but for what a comment gives a
reason for. They stand before the package is installed, whose last act is to compile the pages'
scripts and styles for the web root that they name.
"""

from __future__ import annotations

from osawslab.cloud.openstack.configuration import About

PACKAGES = ("openstack-dashboard",)
SERVICE = "osawslab-dashboard"
ADDRESS, PORT = "127.0.0.1", 8780  # on the instance: only the SSH connection leads there
ROOT = "/horizon/"
PAGES = "/var/lib/openstack-dashboard"
# Horizon makes it when it starts (0600, www-data); whoever knows it can make up sessions.
SECRET_KEY = f"{PAGES}/secret-key/.secret_key_store"

# Cookies belong to an address, whatever the port: the path keeps them from other servers there.
SETTINGS = """WEBROOT = "{root}"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = WEBROOT
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
OPENSTACK_KEYSTONE_URL = "http://{address}:5000/v3"
CACHES = {{
    "default": {{
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:11211",
    }}
}}
"""
# A static-map is looked at after the mount point has been taken off.
UWSGI = f"""[uwsgi]
plugins = python3
http-socket = {ADDRESS}:{PORT}
mount = {ROOT.rstrip("/")}=/usr/share/openstack-dashboard/wsgi.py
manage-script-name = true
need-app = true
static-map = /static={PAGES}/static
add-header = Connection: close
master = true
processes = 1
threads = 8
buffer-size = 65535
die-on-term = true
"""
UNIT = """[Unit]
Description=OpenStack Dashboard (Horizon), for this host alone
After=network.target memcached.service keystone.service
[Service]
Type=notify
User=www-data
Group=www-data
ExecStart=/usr/bin/uwsgi --ini /etc/openstack-dashboard/osawslab.ini
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""


def configure(about: About) -> str:
    """Write its files; Debian's settings are read first, and these beat them."""
    settings = SETTINGS.format(root=ROOT, address=about.address)
    return f"""mkdir -p /etc/openstack-dashboard/local_settings.d
cat > /etc/openstack-dashboard/local_settings.d/_9000_osawslab.py <<'END'
{settings}END
cat > /etc/openstack-dashboard/osawslab.ini <<'END'
{UWSGI}END
cat > /etc/systemd/system/{SERVICE}.service <<'END'
{UNIT}END
"""


def start() -> str:
    """Write the start, and the first look at the page, which takes Horizon some seconds."""
    page = f"http://{ADDRESS}:{PORT}{ROOT}auth/login/"
    return f"""systemctl daemon-reload
systemctl -q enable {SERVICE}
if ! systemctl restart {SERVICE} || ! curl -sSf -o /dev/null --max-time 60 {page}; then
  echo "no dashboard: $(journalctl -q -n 3 --no-pager -o cat -u {SERVICE} | tr '\\n' ' ')" >&2
  exit 1
fi
"""
