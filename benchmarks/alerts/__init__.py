"""How well the default alerts distinguish runs that learn the background from others."""
