"""A small web service on bottle, which pip installs."""

import getpass

import bottle


@bottle.route("/")
def index():
    return f"bottle {bottle.__version__} as {getpass.getuser()}\n"


bottle.run(host="127.0.0.1", port=18102, quiet=True)
