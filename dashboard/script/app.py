"""The script that Streamlit runs for `memories dashboard`."""

from memories.dashboard.app import draw, looked_at_from_environment

if __name__ == "__main__":
    draw(looked_at_from_environment())
