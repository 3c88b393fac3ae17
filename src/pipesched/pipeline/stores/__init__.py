"""Where vectors live: one Protocol, several stores."""
