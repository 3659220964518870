"""What the tests of the page and its interface share."""
import pytest


@pytest.fixture(scope="module")
def model():
  from serve_models import StandIn  # needs the extra serve, without which these tests are skipped
  return StandIn()


@pytest.fixture(scope="module")
def client(model):
  from galaxy_jax.serve.app import create_app
  app = create_app(model)
  yield app.test_client()
  app.close()


@pytest.fixture(scope="module")
def galaxies():
  from serve_models import jpegs
  return jpegs()
