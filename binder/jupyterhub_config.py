"""JupyterHub on one server, each learner a system user: jupyterhub -f binder/jupyterhub_config.py

Needs: pip install '.[hub]', npm install -g configurable-http-proxy, and root, who starts the
learners' servers as their users. Who may log in is the server's PAM; put TLS before it.
"""

import sys

c = get_config()  # noqa: F821 (JupyterHub gives it)

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.concurrent_spawn_limit = 10
c.Authenticator.allow_all = True  # who has an account on this server

# It lays the notebooks out in the learner's home, then is jupyterhub-singleuser.
c.Spawner.cmd = [sys.executable, "-P", "-m", "osawslab.hub"]
c.Spawner.notebook_dir = "~/osawslab-notebooks"
c.Spawner.default_url = "/lab/tree/00-start.ipynb"
# Loopback is everybody's on one server: kernels talk over files that are the learner's alone.
c.Spawner.args = ["--KernelManager.transport=ipc", "--LanguageServerManager.autodetect=False"]
c.Spawner.environment = {"OSAWSLAB_TARGET": "local"}
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 180
c.LocalProcessSpawner.shell_cmd = []
