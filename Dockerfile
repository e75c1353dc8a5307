# fedgen on an NVIDIA GPU, by its engine on JAX. CUDA comes with JAX's wheels; the host brings the
# driver and the NVIDIA Container Toolkit. Ray is there for a cluster of such containers, and /src
# stays, as Flower's app.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

WORKDIR /src

# All that is downloaded stands in one layer, which only these two files invalidate. That layer
# holds the build backend too, so that installing the source needs no network.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; settings = tomllib.load(open('pyproject.toml', 'rb')); \
project = settings['project']; print(*settings['build-system']['requires'], \
*project['dependencies'], *project['optional-dependencies']['gpu'], \
*project['optional-dependencies']['simulation'], sep='\n')" \
    > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt

# setuptools reads README.md for the metadata.
COPY README.md ./
COPY fedgen fedgen
COPY strategies strategies
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

# Like /tmp, open to whoever --user names; volumes without a host directory start as these are.
RUN useradd --create-home --uid 1000 fedgen \
    && install --directory --owner=fedgen --group=fedgen --mode=1777 /data /runs

# Downloads go into the data volume, so that the next container finds them. A container that
# sees no GPU stops instead of training slowly; -e FEDGEN_REQUIRE_GPU=0 allows the CPU.
ENV FEDGEN_DATA_DIR=/data \
    XDG_CACHE_HOME=/data/cache \
    FEDGEN_REQUIRE_GPU=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME ["/data", "/runs"]

# By number: a cluster that refuses root cannot look a name up.
USER 1000
# From here the default run directory, runs/..., is in the volume, and so is what `resume` names.
WORKDIR /
# `docker stop` then keeps every finished round, as Ctrl-C does.
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "-m", "fedgen"]
