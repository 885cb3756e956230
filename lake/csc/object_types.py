"""SIMBAD's object types in all their spellings.

A type has a condensed name (``HXB``), a former standard name (``HMXB``) and, since SIMBAD
renamed its types in 2022, a label (``HighMassXBin``). Published tables of before have the former
names, the TAP service gives the condensed ones, other interfaces the labels.
"""

# One type to a line: condensed name, then the name that stands for it here (the former standard
# name; of a type that came later, its label), then the other spellings. Sources: the lists of
# types of 2018 and of today (simbad.cds.unistra.fr/guide/otypes.htx, table otypedef of the TAP
# service), and the names ``Candidate_X`` and ``X_Candidate`` of the years between.
_TYPES = """
? Unknown
ev Transient
var Variable
Rad Radio
mR Radio(m) metricRad
cm Radio(cm) cmRad
mm Radio(mm) mmRad
smm Radio(sub-mm) smmRad
HI HI
rB radioBurst
Mas Maser
IR IR Infrared
FIR IR>30um FarIR
MIR MIR MidIR
NIR IR<10um NearIR
red Red
ERO RedExtreme
Opt Optical
blu Blue blue
UV UV
X X
UX? ULX? ULX_Candidate
ULX ULX
gam gamma
gB gammaBurst
err Inexistent
grv Gravitation
Lev LensingEv
LS? Candidate_LensSystem LensSystem_Candidate GravLensSystem_Candidate
Le? Candidate_Lens Lens_Candidate GravLens_Candidate
LI? Possible_lensImage lensImage_Candidate LensedImage_Candidate
gLe GravLens
gLS GravLensSystem
GWE GravWaveEvent
..? Candidates
G? Possible_G G_Candidate Galaxy_Candidate
SC? Possible_SClG SClG_Candidate SuperClG_Candidate
C?G Possible_ClG ClG_Candidate
Gr? Possible_GrG GrG_Candidate GroupG_Candidate
As? Possible_As* As*_Candidate Association_Candidate
**? Candidate_** **_Candidate
EB? Candidate_EB* EB*_Candidate EclBin_Candidate
El? EllipVar_Candidate
SB? SB*_Candidate
RS? RSCVnV*_Candidate
BY? BYDraV*_Candidate
Sy? Candidate_Symb* Symb*_Candidate Symbiotic*_Candidate
CV? Candidate_CV* CV*_Candidate CataclyV*_Candidate
No? Candidate_Nova Nova_Candidate
XB? Candidate_XB* XB*_Candidate XrayBin_Candidate
LX? Candidate_LMXB LMXB_Candidate LowMassXBin_Candidate
HX? Candidate_HMXB HMXB_Candidate HighMassXBin_Candidate
Pe? Candidate_Pec* Pec? Pec*_Candidate ChemPec*_Candidate
a2? alf2CVnV*_Candidate
Y*? Candidate_YSO YSO_Candidate
pr? Candidate_pMS* pMS*_Candidate
TT? Candidate_TTau* TTau*_Candidate TTauri*_Candidate
C*? Candidate_C* C*_Candidate
S*? Candidate_S* S*_Candidate
OH? Candidate_OH OH_Candidate OH/IR*_Candidate
CH? Candidate_CH CH_Candidate
WR? Candidate_WR* WR*_Candidate WolfRayet*_Candidate
Be? Candidate_Be* Be*_Candidate
Ae? Candidate_Ae* Ae*_Candidate
HB? Candidate_HB* HB*_Candidate HorBranch*_Candidate
RR? Candidate_RRLyr RRLyr_Candidate RRLyrae_Candidate
Ce? Candidate_Cepheid Cepheid_Candidate
WV? Type2Cep_Candidate
RV? RVTauV*_Candidate
RB? Candidate_RGB* RGB*_Candidate
Ma? Massiv*_Candidate
bC? bCepV*_Candidate
sg? Candidate_SG* SG*_Candidate Supergiant_Candidate
s?r Candidate_RSG* RSG*_Candidate RedSG_Candidate
s?y Candidate_YSG* YSG*_Candidate YellowSG_Candidate
s?b Candidate_BSG* BSG*_Candidate BlueSG_Candidate
MS? MainSequence*_Candidate
Ev? Evolved*_Candidate
AB? Candidate_AGB* AGB*_Candidate
LP? Candidate_LP* LP*_Candidate LongPeriodV*_Candidate
Mi? Candidate_Mi* Mi*_Candidate Mira_Candidate
sv? Candiate_sr* sr*_Candidate
pA? Candidate_post-AGB* post-AGB*_Candidate
BS? Candidate_BSS BSS_Candidate BlueStraggler_Candidate
HS? Candidate_Hsd Hsd_Candidate HotSubdwarf_Candidate
WD? Candidate_WD* WD*_Candidate WhiteDwarf_Candidate
N*? Candidate_NS NS_Candidate Neutron*_Candidate
BH? Candidate_BH BH_Candidate BlackHole_Candidate
SN? Candidate_SN* SN*_Candidate Supernova_Candidate
LM? Candidate_low-mass* low-mass*_Candidate Low-Mass*_Candidate
BD? Candidate_brownD* brownD*_Candidate BrownD*_Candidate
V*? V*? V*_Candidate Variable*_Candidate
RC? RCrB_Candidate RCrBV*_Candidate
Er? Eruptive*_Candidate
Ro? RotV*_Candidate
Pu? PulsV*_Candidate
Pl? Planet? Planet_Candidate
Cl? Cl*? C?* Cluster*_Candidate
Gl? GlCl? GlCl_Candidate GlobCluster_Candidate
PN? PN? PN_Candidate PlanetaryNeb_Candidate
SR? SNR? SNR_Candidate SNRemnant_Candidate
of? outflow? outflow_Candidate Outflow_Candidate
AG? AGN_Candidate
Q? QSO_Candidate
Bz? Blazar_Candidate
BL? BLLac_Candidate
mul multiple_object Blend
reg Region
vid Void
SCG SuperClG
ClG ClG
PCG protoClG
GrG GroupG
CGG Compact_Gr_G
PaG PairG
IG IG InteractingG
Cl* Cl* Cluster*
GlC GlCl GlobCluster
OpC OpCl OpenCluster
As* Assoc* Association
St* Stream* Stream
MGr MouvGroup
** **
EB* EB* EclBin
Al* EB*Algol
bL* EB*betLyr
WU* EB*WUMa
EP* EB*Planet
SB* SB*
El* EllipVar
Sy* Symbiotic*
CV* CataclyV*
DQ* DQHer
AM* AMHer
NL* Nova-like
No* Nova
DN* DwarfNova
XB* XB XrayBin
LXB LMXB LowMassXBin
HXB HMXB HighMassXBin
ISM ISM
PoC PartofCloud
CGb ComGlob
bub Bubble
EmO EmObj
Cld Cloud
GNe GalNeb
BNe BrNeb
DNe DkNeb DarkNeb
RNe RfNeb RefNeb
MoC MolCld
glb Globule
cor denseCore
flt Filament
SFR SFregion StarFormingReg
HVC HVCld
HII HII HIIReg
PN PN PlanetaryNeb
sh HIshell
SNR SNR SNRemnant
cir Circumstellar
out Outflow
HH HH HerbigHaroObj
* Star
*iC *inCl
*iN *inNeb
*iA *inAssoc
*i* *in**
Ma* Massiv*
MS* MainSequence*
Ev* Evolved*
Pe* Pec* ChemPec*
HB* HB* HorBranch*
Y*O YSO
Ae* Ae*
Em* Em* EmLine*
Be* Be*
BS* BlueStraggler
RG* RGB*
AB* AGB*
C* C*
S* S*
sg* SG* Supergiant
s*r RedSG* RedSG
s*y YellowSG* YellowSG
s*b BlueSG* BlueSG
HS* HotSubdwarf
pA* post-AGB*
WD* WD* WhiteDwarf
ZZ* pulsWD*
LM* low-mass* Low-Mass*
BD* brownD* BrownD*
N* Neutron*
BH BlackHole
OH* OH/IR OH/IR*
CH* CH
pr* pMS*
TT* TTau* TTauri*
WR* WR* WolfRayet*
PM* PM* HighPM*
HV* HV* HighVel*
V* V* Variable*
Ir* Irregular_V* IrregularV*
Or* Orion_V* OrionV*
RI* Rapid_Irreg_V*
Er* Eruptive*
Fl* Flare*
FU* FUOr
RC* Erupt*RCrB RCrBV*
Ro* RotV*
a2* RotV*alf2CVn alf2CVnV*
Psr Pulsar
BY* BYDra BYDraV*
RS* RSCVn RSCVnV*
Pu* PulsV*
RR* RRLyr RRLyrae
Ce* Cepheid
dS* PulsV*delSct delSctV*
RV* PulsV*RVTau RVTauV*
WV* PulsV*WVir Type2Cep
bC* PulsV*bCep bCepV*
cC* deltaCep ClassicalCep
gD* gammaDor gammaDorV*
SX* pulsV*SX SXPheV*
LP* LPV* LongPeriodV*
Mi* Mira
sr* semi-regV*
SN* SN Supernova
su* Sub-stellar
Pl Planet
G Galaxy
PoG PartofG
GiC GinCl GtowardsCl
BiC BClG BrightestCG
GiG GinGroup GtowardsGroup
GiP GinPair
HzG High_z_G
ALS AbsLineSystem
LyA Ly-alpha_ALS
DLA DLy-alpha_ALS
mAL metal_ALS
LLS Ly-limit_ALS
BAL Broad_ALS
rG RadioG
H2G HII_G HIIG
LSB LSB_G LowSurfBrghtG
EmG EmG EmissionG
SBG StarburstG
bCG BlueCompG BlueCompactG
LeI LensedImage
LeG LensedG
LeQ LensedQ
AGN AGN
LIN LINER
SyG Seyfert
Sy1 Seyfert_1 Seyfert1
Sy2 Seyfert_2 Seyfert2
Bla Blazar
BLL BLLac
OVV OVV
QSO QSO
"""
_LINES = [line.split() for line in _TYPES.split("\n") if line]
_CANONICAL = {spelling: names[1] for names in _LINES for spelling in names}
_CONDENSED = {names[1]: names[0] for names in _LINES}
# What stands for "no label" where a table went through pandas or a CSV file.
_ABSENT = frozenset(("", "nan", "none", "null", "n/a"))


def canonical_type(simbad_type: str | None) -> str | None:
    """Give a SIMBAD object type in the spelling of the method.

    Parameters
    ----------
    simbad_type : str or None
        A type as SIMBAD writes it, before or after its renaming of 2022, condensed (``HXB``)
        or as a label (``HighMassXBin``).

    Returns
    -------
    str or None
        The former name (``HMXB``), the label of a type that had none, any other text unchanged,
        and None for what means "no label": None, an empty text, ``NaN``, ``None``. A candidate
        (``HX?``) stays one (``Candidate_HMXB``): it is another type than what it may be.
    """
    if simbad_type is None:
        return None
    text = simbad_type.strip()
    if text.lower() in _ABSENT:
        return None
    return _CANONICAL.get(text, text)


def is_known(simbad_type: str | None) -> bool:
    """Tell whether SIMBAD has a type under this name, or it means "no label".

    Parameters
    ----------
    simbad_type : str or None

    Returns
    -------
    bool
        False for a text that `canonical_type` can only leave as it is.
    """
    name = canonical_type(simbad_type)
    return name is None or name in _CONDENSED


def condensed_type(canonical: str) -> str:
    """Give the condensed name that SIMBAD's TAP service has for a type of the method's spelling.

    Parameters
    ----------
    canonical : str
        A result of `canonical_type`.

    Raises
    ------
    KeyError
        If SIMBAD has no such type.
    """
    return _CONDENSED[canonical]
